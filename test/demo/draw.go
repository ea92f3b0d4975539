package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	chartColumns = 48
	chartRows    = 6
)

// A chart is a drawing of a forecast from a moment on, with the time of a run marked.
type chart struct {
	series     *forecast.Series
	from       time.Time
	span       time.Duration
	start, end time.Time           // of the run
	label      string              // of the run
	highlight  func(string) string // for the columns of the run
}

// lines draws the forecast as bars, from 0 to its highest.
func (c chart) lines() []string {
	values, most, least := c.columns()
	var lines []string
	for row := chartRows - 1; row >= 0; row-- {
		label := ""
		switch {
		case row == chartRows-1:
			label = fmt.Sprintf("%.0f", most)
		case row == c.row(least, most) && row > 0:
			label = fmt.Sprintf("%.0f", least)
		case row == 0:
			label = "0"
		}
		lines = append(lines, fmt.Sprintf("%5s ┤%s", label, c.bars(values, most, row)))
	}
	return append(lines, c.axis()...)
}

// columns are the means over equal times; NaN where nothing is known.
func (c chart) columns() (values []float64, most, least float64) {
	values = make([]float64, chartColumns)
	most, least = 1, math.Inf(1)
	for i := range values {
		mean, covered := c.series.Mean(c.at(i), c.at(i+1))
		if values[i] = mean; covered == 0 {
			values[i] = math.NaN()
			continue
		}
		most, least = max(most, mean), min(least, mean)
	}
	return values, most, least
}

// at is the time at which a column begins.
func (c chart) at(column int) time.Time {
	return c.from.Add(c.span * time.Duration(column) / chartColumns)
}

// row is where the top of a bar is.
func (c chart) row(value, most float64) int {
	eighths := int(math.Round(value / most * chartRows * 8))
	return min(max(eighths-1, 0)/8, chartRows-1)
}

// bars draws one row, in eighths of a row.
func (c chart) bars(values []float64, most float64, row int) string {
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	var plain, all strings.Builder
	inside := false
	flush := func() {
		text := plain.String()
		if inside && c.highlight != nil {
			text = c.highlight(text)
		}
		all.WriteString(text)
		plain.Reset()
	}
	for i, value := range values {
		if c.inRun(i) != inside {
			flush()
			inside = !inside
		}
		eighths := 0.0
		if !math.IsNaN(value) {
			eighths = math.Round(value/most*chartRows*8) - float64(row*8)
		}
		plain.WriteRune(blocks[int(min(max(eighths, 0), 8))])
	}
	flush()
	return strings.TrimRight(all.String(), " ")
}

// inRun tells whether the middle of a column lies in the run.
func (c chart) inRun(column int) bool {
	middle := c.at(column).Add(c.span / chartColumns / 2)
	return !middle.Before(c.start) && middle.Before(c.end)
}

// axis is what stands below the bars: the run, and times.
func (c chart) axis() []string {
	first, count := chartColumns, 0
	for i := range chartColumns {
		if c.inRun(i) {
			first, count = min(first, i), count+1
		}
	}
	if count == 0 { // it is shorter than a column
		first, count = min(max(int(c.start.Sub(c.from)*chartColumns/c.span), 0), chartColumns-1), 1
	}
	ruler := strings.Repeat("─", first) + strings.Repeat("━", count) + strings.Repeat("─", max(chartColumns-first-count, 0))
	marks := strings.Repeat(" ", first) + "▲ " + c.label
	if first > len("x now") {
		marks = "▲ now" + marks[len("x now"):]
	}
	return []string{
		"      └" + ruler + fmt.Sprintf(" in %.0f s", c.span.Seconds()),
		"       " + marks,
	}
}
