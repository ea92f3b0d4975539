package render

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
)

const (
	reportPlotWidth  = 26 * vg.Centimeter
	reportPlotHeight = 7.5 * vg.Centimeter
	barShare         = 0.7 // of the place of a day
	maxPlotLabels    = 12  // below the bars
)

// drawing is a picture, and what it shows in words.
type drawing struct {
	svg []byte
	alt string
}

// bars are figures of each day, side by side or on top of each other.
type bars struct {
	name   string
	fill   color.Color
	values []float64
}

// emissionsPlot draws what work emitted, and what the same work would have emitted otherwise.
func emissionsPlot(s accounts.Section) (drawing, error) {
	emitted, other := make([]float64, len(s.Course)), make([]float64, len(s.Course))
	for i, row := range s.Course {
		emitted[i] = row.EmittedGrams
		other[i] = row.EmittedGrams + row.SavedGrams
		if s.Mode == ledger.Audit {
			other[i] = row.EmittedGrams - row.SavedGrams
		}
	}
	otherwise := "had it started when it came"
	if s.Mode == ledger.Audit {
		otherwise = "had it been held"
	}
	return drawBars(s, "Emitted, by when the work ended", []bars{
		{"emitted", color.RGBA{R: 0x2e, G: 0x9e, B: 0x5b, A: 0xff}, emitted},
		{otherwise, color.RGBA{R: 0xb4, G: 0xbe, B: 0xc8, A: 0xff}, other},
	}, nil)
}

// savingsPlot draws what was avoided, what was added, and what perfect foresight would have saved.
func savingsPlot(s accounts.Section) (drawing, error) {
	avoided, added, best := make([]float64, len(s.Course)), make([]float64, len(s.Course)), make([]float64, len(s.Course))
	for i, row := range s.Course {
		avoided[i], added[i], best[i] = row.AvoidedGrams, -row.AddedGrams, row.OracleSavedGrams
	}
	title := "Avoided and added by waiting, and what perfect foresight would have saved"
	if s.Mode == ledger.Audit {
		title = "What holding would have avoided and added, and what perfect foresight would have saved"
	}
	return drawBars(s, title, []bars{
		{"avoided", color.RGBA{R: 0x2e, G: 0x9e, B: 0x5b, A: 0xff}, avoided},
		{"added", color.RGBA{R: 0xc6, G: 0x3d, B: 0x2f, A: 0xff}, added},
	}, best)
}

// drawBars draws bars for each day. Bars of other signs share a place; marks are drawn over them.
func drawBars(s accounts.Section, title string, series []bars, marks []float64) (drawing, error) {
	most := 0.0
	for _, b := range append(series, bars{values: marks}) {
		for _, v := range b.values {
			most = max(most, math.Abs(v))
		}
	}
	unit := accounts.GramUnit(most)
	panel := newReportPanel(title, unit.Name+" CO2eq")
	slots := 1
	if marks == nil {
		slots = len(series) // side by side
	}
	for i, b := range series {
		shift := (float64(i%slots) + 0.5) * barShare / float64(slots)
		if err := addBars(panel, b, unit.Size, shift-barShare/2, barShare/float64(slots)); err != nil {
			return drawing{}, err
		}
	}
	if marks != nil {
		if err := addMarks(panel, marks, unit.Size); err != nil {
			return drawing{}, err
		}
	}
	panel.X.Min, panel.X.Max = -0.5, float64(len(s.Course))-0.5
	panel.X.Tick.Marker = dayTicks(s.Course)
	makeRoom(panel)
	canvas := vgsvg.New(reportPlotWidth, reportPlotHeight)
	panel.Draw(draw.Crop(draw.New(canvas), vg.Millimeter, -4*vg.Millimeter, vg.Millimeter, -vg.Millimeter))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return drawing{}, fmt.Errorf("draw %s: %w", title, err)
	}
	return drawing{out.Bytes(), title}, nil
}

// addBars adds bars around the middle of each day plus a shift, which are so wide; days are 1
// apart.
func addBars(panel *plot.Plot, b bars, unit, shift, width float64) error {
	for i, v := range b.values {
		left, right, top := float64(i)+shift-width/2, float64(i)+shift+width/2, drawable(v/unit)
		bar, err := plotter.NewPolygon(plotter.XYs{{X: left}, {X: left, Y: top}, {X: right, Y: top}, {X: right}})
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		bar.Color, bar.Width = b.fill, 0
		panel.Add(bar)
		if i == 0 {
			panel.Legend.Add(b.name, bar)
		}
	}
	return nil
}

// addMarks adds a short line over each day.
func addMarks(panel *plot.Plot, marks []float64, unit float64) error {
	for i, v := range marks {
		line, err := plotter.NewLine(plotter.XYs{{X: float64(i) - 0.42, Y: drawable(v / unit)}, {X: float64(i) + 0.42, Y: drawable(v / unit)}})
		if err != nil {
			return fmt.Errorf("perfect foresight: %w", err)
		}
		line.Color, line.Width = color.RGBA{R: 0x1d, G: 0x27, B: 0x33, A: 0xff}, vg.Points(2)
		panel.Add(line)
		if i == 0 {
			panel.Legend.Add("perfect foresight", line)
		}
	}
	return nil
}

// drawable bounds a value, so that the scale of a picture is finite.
func drawable(v float64) float64 { return max(min(v, 1e100), -1e100) }

// makeRoom leaves a place for the legend, and has a scale where all figures are 0.
func makeRoom(panel *plot.Plot) {
	if panel.Y.Max <= 0 {
		panel.Y.Max = max(1e-9, -panel.Y.Min/4)
		if panel.Y.Min >= 0 {
			panel.Y.Max = 1
		}
	}
	panel.Y.Min = min(panel.Y.Min, 0)
	panel.Y.Max += (panel.Y.Max - panel.Y.Min) * legendShare
}

// figureTicks labels the usual ticks as the tables show figures.
type figureTicks struct{ plot.DefaultTicks }

// Ticks returns the ticks between two values.
func (t figureTicks) Ticks(least, most float64) []plot.Tick {
	ticks := t.DefaultTicks.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = accounts.Number(ticks[i].Value)
		}
	}
	return ticks
}

// dayTicks names some of the days or months.
func dayTicks(course []accounts.Row) plot.ConstantTicks {
	var ticks []plot.Tick
	step := (len(course) + maxPlotLabels - 1) / maxPlotLabels
	for i, row := range course {
		tick := plot.Tick{Value: float64(i)}
		if i%step == 0 {
			tick.Label = row.Values[0]
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

func newReportPanel(title, unit string) *plot.Plot {
	panel := plot.New()
	for _, style := range []*text.Style{
		&panel.Title.TextStyle, &panel.Y.Label.TextStyle, &panel.X.Tick.Label, &panel.Y.Tick.Label, &panel.Legend.TextStyle,
	} {
		style.Font.Variant = "Sans"
		style.Font.Size = vg.Points(10)
	}
	panel.Title.Text, panel.Y.Label.Text = title, unit
	panel.Title.Padding = 2 * vg.Millimeter
	panel.Y.Tick.Marker = figureTicks{}
	panel.Legend.Top = true
	panel.Legend.Padding = vg.Millimeter
	panel.Legend.XOffs = -2 * vg.Millimeter
	panel.X.Width, panel.X.Padding = 0, 0
	panel.Y.Width = 0
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal.Color = 0, color.Gray{Y: 0xe6}
	zero := plotter.NewFunction(func(float64) float64 { return 0 })
	zero.Color, zero.Width = color.Gray{Y: 0x88}, vg.Points(0.7)
	panel.Add(grid, zero)
	return panel
}
