package render

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	chartRows     = 10
	labelColumns  = 8   // the labels at the left
	maxColumns    = 160 // a wider chart is harder to read
	minColumns    = 20
	columnsToTick = 14 // the least distance of two times on the axis
	runsNow       = "runs"
)

// chart draws a forecast as columns. The columns of the run are of another glyph, so that the chart
// can be read without colour.
type chart struct {
	series   *forecast.Series
	title    string // what the other columns are
	from, to time.Time
	runTitle string    // what the columns of the run are
	spans    []span    // the runs, ascending; at least one
	latest   time.Time // the latest start
	columns  int
}

// newChart draws the run that starts at a time, from now on: the next day at least, and all of the
// wait.
func newChart(width int, series *forecast.Series, now, start time.Time, duration time.Duration, latest time.Time) chart {
	to := latest.Add(duration)
	if tomorrow := now.Add(24 * time.Hour); to.Before(tomorrow) {
		to = tomorrow
	}
	if end := series.End(); end.Before(to) && end.After(now) {
		to = end
	}
	c := chart{
		series: series, title: "forecast", from: now, to: to,
		runTitle: "run", spans: []span{{start, start.Add(duration), "start"}}, latest: latest,
	}
	return c.fit(width)
}

// withSpans returns the chart with several runs, all of which it shows if the forecast goes so far.
func (c chart) withSpans(width int, all []span) chart {
	c.spans = all
	end := all[len(all)-1].end
	if known := c.series.End(); known.Before(end) {
		end = known
	}
	if end.After(c.to) {
		c.to = end
	}
	return c.fit(width)
}

// fit chooses the columns.
func (c chart) fit(width int) chart {
	c.columns = max(min(width, maxColumns)-labelColumns-1, minColumns)
	if hours := int(math.Ceil(c.to.Sub(c.from).Hours())); hours > 0 && hours < c.columns {
		c.columns -= c.columns % hours // each hour has the same width
	}
	return c
}

// at returns when a column begins.
func (c chart) at(column int) time.Time {
	share := float64(column) / float64(c.columns)
	return c.from.Add(time.Duration(share * float64(c.to.Sub(c.from))))
}

// column returns the column of a time.
func (c chart) column(t time.Time) int {
	share := float64(t.Sub(c.from)) / float64(c.to.Sub(c.from))
	return min(max(int(math.Floor(share*float64(c.columns)+1e-9)), 0), c.columns-1)
}

// isRun reports whether a column belongs to a run. At least one column of each run does.
func (c chart) isRun(column int) bool {
	middle := c.at(column).Add(c.at(column+1).Sub(c.at(column)) / 2)
	for _, run := range c.spans {
		if column == c.column(run.start) || !middle.Before(run.start) && middle.Before(run.end) {
			return true
		}
	}
	return false
}

func (c chart) draw(out *screen.Screen) {
	values, lowest, highest := c.values()
	base, top := -above(-lowest), above(highest)
	out.Printf("gCO2eq/kWh: ⣿ %s, █ %s\n", c.title, c.runTitle)
	for row := chartRows - 1; row >= 0; row-- {
		label := ""
		if row%2 == 1 {
			label = fmt.Sprintf("%.4g", base+(top-base)*float64(row+1)/chartRows)
		}
		out.Printf("%*s ┤", labelColumns-2, label)
		for _, part := range c.row(values, row, base, top) {
			if part.isRun {
				out.Printf("%s%s%s", screen.Green, part.text, screen.Plain)
			} else {
				out.Printf("%s", part.text)
			}
		}
		out.Printf("\n")
	}
	for _, line := range c.axis() {
		out.Printf("%s\n", line)
	}
}

// above returns the next number from value on that has round fifths, 0 if value is not above 0.
func above(value float64) float64 {
	if value <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(value)))
	for _, round := range []float64{1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5} {
		if round*unit >= value {
			return round * unit
		}
	}
	return 10 * unit
}

// values returns the mean of each column, NaN where nothing is known.
func (c chart) values() (values []float64, lowest, highest float64) {
	values = make([]float64, c.columns)
	for i := range values {
		mean, covered := c.series.Mean(c.at(i), c.at(i+1))
		if values[i] = mean; covered == 0 {
			values[i] = math.NaN()
			continue
		}
		lowest, highest = min(lowest, mean), max(highest, mean)
	}
	return values, lowest, highest
}

// part is a part of a row that is in a run, or between runs.
type part struct {
	text  string
	isRun bool
}

// row draws one row: the columns between the runs in quarters of dots, and those of the runs in eighths
// of blocks.
func (c chart) row(values []float64, row int, base, top float64) (parts []part) {
	dots, blocks := []rune(" ⣀⣤⣶⣿"), []rune(" ▁▂▃▄▅▆▇█")
	line := make([]rune, len(values))
	for i, value := range values {
		glyphs := dots
		if c.isRun(i) {
			glyphs = blocks
		}
		steps := float64(len(glyphs) - 1)
		fill := 0.0
		if !math.IsNaN(value) && top > base {
			fill = (value-base)/(top-base)*chartRows - float64(row)
		}
		line[i] = glyphs[int(math.Round(min(max(fill, 0), 1)*steps))]
	}
	for i, glyph := range []rune(strings.TrimRight(string(line), " ")) {
		isRun, last := c.isRun(i), len(parts)-1
		if last < 0 || parts[last].isRun != isRun {
			parts, last = append(parts, part{isRun: isRun}), last+1
		}
		parts[last].text += string(glyph)
	}
	return parts
}

// axis returns the lines below: a ruler with the run, the starts, and times.
func (c chart) axis() []string {
	ruler, times, marks := line(c.columns, '─'), line(c.columns+12, ' '), line(c.columns+30, ' ')
	if first, _ := c.ticks(); c.column(first) > len("now ") {
		write(times, 0, "now")
	}
	for t, step := c.ticks(); t.Before(c.to); t = t.Add(step) {
		ruler[c.column(t)] = '┬'
		write(times, c.column(t), t.Format(tickFormat(t)))
	}
	for i := range c.columns {
		if c.isRun(i) {
			ruler[i] = '━'
		}
	}
	c.mark(marks)
	indent := strings.Repeat(" ", labelColumns)
	return []string{
		strings.Repeat(" ", labelColumns-1) + "└" + string(ruler),
		indent + strings.TrimRight(string(marks), " "),
		indent + strings.TrimRight(string(times), " ") + " UTC",
	}
}

// mark writes the starts below the ruler, and the latest start, as far as there is room.
func (c chart) mark(marks []rune) {
	const shortest = 14 // columns of a mark and a blank
	free := 0
	for i, run := range c.spans {
		text := "▲ " + run.start.Format("15:04") + " " + run.word
		if run.word == runsNow {
			text = "▲ " + runsNow
		}
		if at := c.column(run.start); i == 0 || at >= free && run.start.Before(c.to) {
			write(marks, at, text)
			free = at + len([]rune(text)) + 2
		}
	}
	at := c.column(c.latest)
	if c.latest.After(c.spans[0].start) && c.latest.Before(c.to) && at >= free && at > c.column(c.spans[0].start)+shortest {
		write(marks, at, "△ "+c.latest.Format("15:04")+" latest start")
	}
}

// ticks returns the first round time, and the distance to the next.
func (c chart) ticks() (time.Time, time.Duration) {
	maxTicks := max(c.columns/columnsToTick, 1)
	step := time.Hour
	for _, hours := range []int{1, 2, 3, 6, 12, 24, 48, 96, 168} {
		if step = time.Duration(hours) * time.Hour; int(c.to.Sub(c.from)/step) <= maxTicks {
			break
		}
	}
	first := c.from.Truncate(step)
	if first.Before(c.from) {
		first = first.Add(step)
	}
	return first, step
}

// tickFormat shows the day where the day begins.
func tickFormat(t time.Time) string {
	if t.Hour() == 0 && t.Minute() == 0 {
		return "Jan 2"
	}
	return "15:04"
}

func line(length int, glyph rune) []rune { return []rune(strings.Repeat(string(glyph), length)) }

// write writes as much of a text over a line as fits.
func write(line []rune, at int, text string) {
	for i, glyph := range []rune(text) {
		if at+i < len(line) {
			line[at+i] = glyph
		}
	}
}
