package main

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const (
	day       = 24 * time.Hour
	plotWidth = 24 * vg.Centimeter
	plotTall  = 14 * vg.Centimeter
	plotDPI   = 144
	headroom  = 0.35 // of the height of the lines, for what names them
)

// A picture shows a week of a run: the intensity, and below it the work, started at once and as a policy started it.
type picture struct {
	s        *simulation
	after    backtest.Run
	from, to time.Time
	whole    bool // the week is the whole run
}

// draw draws what the first policy that moves work did.
func (s *simulation) draw(w io.Writer) error {
	p := newPicture(s)
	intensity, err := p.intensity()
	if err != nil {
		return err
	}
	work, err := p.work()
	if err != nil {
		return err
	}
	panels := [][]*plot.Plot{{intensity}, {work}}
	canvas, out := newCanvas(s.flags.plot)
	dc := draw.New(canvas)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: 4 * vg.Millimeter, PadTop: 3 * vg.Millimeter, PadBottom: 2 * vg.Millimeter, PadRight: 5 * vg.Millimeter, PadLeft: 2 * vg.Millimeter}
	for i, tile := range plot.Align(panels, tiles, dc) {
		panels[i][0].Draw(tile[0])
	}
	_, err = out.WriteTo(w)
	return err
}

func newCanvas(path string) (vg.CanvasSizer, io.WriterTo) {
	if strings.EqualFold(filepath.Ext(path), ".svg") {
		canvas := vgsvg.New(plotWidth, plotTall)
		return canvas, canvas
	}
	canvas := vgimg.NewWith(vgimg.UseWH(plotWidth, plotTall), vgimg.UseDPI(plotDPI), vgimg.UseBackgroundColor(color.White))
	return canvas, vgimg.PngCanvas{Canvas: canvas}
}

// newPicture chooses the policy: gridlatch, else the first that moves work for a reason.
func newPicture(s *simulation) picture {
	p := picture{s: s, after: s.result.Runs[0]}
	rank := func(run backtest.Run) int {
		switch run.Policy.Kind {
		case backtest.Gridlatch:
			return 0
		case backtest.Immediate:
			return 3
		case backtest.Oracle:
			return 2
		default:
			return 1
		}
	}
	for _, run := range s.result.Runs[:len(s.policies)] {
		if rank(run) < rank(p.after) {
			p.after = run
		}
	}
	p.chooseWeek()
	return p
}

// before is the run of the policy that starts all at once.
func (p *picture) before() backtest.Run {
	for _, run := range p.s.result.Runs {
		if run.Policy.Kind == backtest.Immediate {
			return run
		}
	}
	return backtest.Run{}
}

// chooseWeek takes the week whose saving is nearest to that of the whole run, the earliest of equals; or the whole run,
// if it is not much longer.
func (p *picture) chooseWeek() {
	const week = 7
	jobs, first, last := p.s.result.Jobs, p.s.result.Jobs[0].Arrival, p.s.result.Jobs[0].Arrival
	for i, job := range jobs {
		first = earliest(first, job.Arrival)
		if end := p.after.Starts[i].Add(job.Duration); end.After(last) {
			last = end
		}
	}
	p.from = first.Truncate(day)
	days := int(last.Sub(p.from)/day) + 1
	atOnce, emitted := make([]float64, days+1), make([]float64, days+1) // totals of the days before
	for i, job := range jobs {
		d := int(job.Arrival.Sub(p.from)/day) + 1
		energy := job.Weight * job.Duration.Hours()
		atOnce[d] += energy * p.mean(job.Arrival, job.Duration)
		emitted[d] += energy * p.mean(p.after.Starts[i], job.Duration)
	}
	for d := range days {
		atOnce[d+1] += atOnce[d]
		emitted[d+1] += emitted[d]
	}
	overall := 1 - emitted[days]/atOnce[days]
	if p.to, p.whole = p.from.Add(time.Duration(days)*day), true; days <= week+3 {
		return
	}
	begin, nearest := p.from, math.Inf(1)
	for d := 0; d+week <= days; d++ {
		saving := 1 - (emitted[d+week]-emitted[d])/(atOnce[d+week]-atOnce[d])
		if off := math.Abs(saving - overall); off < nearest {
			nearest, p.from = off, begin.Add(time.Duration(d)*day)
		}
	}
	p.to, p.whole = p.from.Add(week*day), false
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (p *picture) mean(start time.Time, duration time.Duration) float64 {
	mean, _ := p.s.setup.Actuals.Series.Mean(start, start.Add(duration))
	return mean
}

// intensity is the panel above.
func (p *picture) intensity() (*plot.Plot, error) {
	panel := p.panel("gCO2eq/kWh")
	which := "the week most like the whole"
	if p.whole {
		which = "the whole run"
	}
	panel.Title.Text = fmt.Sprintf("%s: %s saves %.1f %% of the emissions; shown is %s",
		screen.Clean(filepath.Base(p.s.flags.actual)), p.after.Policy, 100*p.s.of(p.after.Policy.Kind).Total.Saving, which)
	var points plotter.XYs
	for _, slot := range p.s.setup.Actuals.Series.Slots() {
		if slot.Start.Before(p.to) && slot.End.After(p.from) {
			points = append(points, plotter.XY{X: p.x(slot.Start), Y: slot.Intensity}, plotter.XY{X: p.x(slot.End), Y: slot.Intensity})
		}
	}
	err := p.add(panel, "carbon intensity", points, color.RGBA{R: 0x33, G: 0x33, B: 0x33, A: 0xff}, nil)
	panel.Y.Max *= 1 + headroom/2
	return panel, err
}

// work is the panel below.
func (p *picture) work() (*plot.Plot, error) {
	unit := "jobs running"
	for _, job := range p.s.result.Jobs {
		if job.Weight != 1 {
			unit = "weight of jobs running"
		}
	}
	panel := p.panel(unit)
	panel.X.Label.Text = "UTC"
	green, grey := color.RGBA{R: 0x2e, G: 0x9e, B: 0x5b, A: 0xff}, color.RGBA{R: 0x88, G: 0x88, B: 0x88, A: 0xff}
	pale := color.RGBA{R: 0xbf, G: 0xe6, B: 0xcf, A: 0xff}
	err := errors.Join(
		p.add(panel, p.after.Policy.String(), p.load(p.after), green, pale),
		p.add(panel, "started at once", p.load(p.before()), grey, nil),
	)
	panel.Y.Max *= 1 + headroom
	return panel, err
}

// load is how much of the work runs in each slot.
func (p *picture) load(run backtest.Run) plotter.XYs {
	slot := max(p.s.setup.Actuals.SlotWidth, p.to.Sub(p.from)/2000)
	running := make([]float64, int(p.to.Sub(p.from)/slot)+1)
	for i, job := range p.s.result.Jobs {
		start, end := run.Starts[i], run.Starts[i].Add(job.Duration)
		if !start.Before(p.to) || !end.After(p.from) {
			continue
		}
		for k := max(int(start.Sub(p.from)/slot), 0); k < len(running); k++ {
			from, to := p.from.Add(time.Duration(k)*slot), p.from.Add(time.Duration(k+1)*slot)
			share := earliest(end, to).Sub(latest(start, from))
			if share <= 0 {
				break
			}
			running[k] += job.Weight * float64(share) / float64(slot)
		}
	}
	var points plotter.XYs
	for k, weight := range running {
		from, to := p.from.Add(time.Duration(k)*slot), p.from.Add(time.Duration(k+1)*slot)
		if to.After(p.to) {
			break
		}
		points = append(points, plotter.XY{X: p.x(from), Y: weight}, plotter.XY{X: p.x(to), Y: weight})
	}
	return points
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// panel is empty, with the days at its foot.
func (p *picture) panel(unit string) *plot.Plot {
	panel := plot.New()
	for _, style := range []*text.Style{
		&panel.Title.TextStyle, &panel.X.Label.TextStyle, &panel.Y.Label.TextStyle,
		&panel.X.Tick.Label, &panel.Y.Tick.Label, &panel.Legend.TextStyle,
	} {
		style.Font.Variant = "Sans"
		style.Font.Size = vg.Points(10)
	}
	panel.Title.Padding = 3 * vg.Millimeter
	panel.Y.Label.Text = unit
	panel.X.Min, panel.X.Max = p.x(p.from), p.x(p.to)
	panel.Y.Min = 0
	panel.X.Tick.Marker = p.ticks()
	panel.Legend.Top = true
	panel.Legend.Padding = vg.Millimeter
	panel.Legend.XOffs = -2 * vg.Millimeter
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 0xdd}, color.Gray{Y: 0xee}
	panel.Add(grid)
	return panel
}

// ticks are the days, at midnight.
func (p *picture) ticks() plot.ConstantTicks {
	var ticks []plot.Tick
	for t := p.from; !t.After(p.to); t = t.Add(day) {
		ticks = append(ticks, plot.Tick{Value: p.x(t), Label: t.Format("Mon 2006-01-02")[:14]})
	}
	return ticks
}

func (p *picture) x(t time.Time) float64 { return float64(t.Unix()) }

// add adds a line, filled down to 0 if there is a colour for it.
func (p *picture) add(panel *plot.Plot, name string, points plotter.XYs, stroke, fill color.Color) error {
	line, err := plotter.NewLine(points)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	line.Color, line.Width, line.FillColor = stroke, vg.Points(1.4), fill
	panel.Add(line)
	panel.Legend.Add(name, line)
	return nil
}
