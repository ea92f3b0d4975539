package render

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/replay"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

const (
	day           = 24 * time.Hour
	weekDays      = 7
	maxWholeDays  = weekDays + 3 // a run of so many days is shown whole
	pictureWidth  = 24 * vg.Centimeter
	pictureHeight = 14 * vg.Centimeter
	pictureDPI    = 144
	legendShare   = 0.35 // of the height of the lines, for the legend above them
)

// picture shows a week of a back-test: the intensity, and below it the jobs, started at once and as
// a policy started them.
type picture struct {
	r        *replay.Replay
	after    backtest.Run
	from, to time.Time
	isWhole  bool // the week is the whole run
}

// Picture draws what the first policy did that moves work: as SVG, or else as PNG.
func Picture(w io.Writer, r *replay.Replay, asSVG bool) error {
	p := newPicture(r)
	intensity, err := p.intensity()
	if err != nil {
		return err
	}
	jobs, err := p.jobs()
	if err != nil {
		return err
	}
	panels := [][]*plot.Plot{{intensity}, {jobs}}
	canvas, out := newCanvas(asSVG)
	dc := draw.New(canvas)
	tiles := draw.Tiles{
		Rows: 2, Cols: 1, PadY: 4 * vg.Millimeter, PadTop: 3 * vg.Millimeter, PadBottom: 2 * vg.Millimeter,
		PadRight: 5 * vg.Millimeter, PadLeft: 2 * vg.Millimeter,
	}
	for i, tile := range plot.Align(panels, tiles, dc) {
		panels[i][0].Draw(tile[0])
	}
	_, err = out.WriteTo(w)
	return err
}

func newCanvas(asSVG bool) (vg.CanvasSizer, io.WriterTo) {
	if asSVG {
		canvas := vgsvg.New(pictureWidth, pictureHeight)
		return canvas, canvas
	}
	canvas := vgimg.NewWith(vgimg.UseWH(pictureWidth, pictureHeight), vgimg.UseDPI(pictureDPI), vgimg.UseBackgroundColor(color.White))
	return canvas, vgimg.PngCanvas{Canvas: canvas}
}

// newPicture chooses the policy: gridlatch, or else the first that moves work for a reason.
func newPicture(r *replay.Replay) picture {
	p := picture{r: r, after: r.Result.Runs[0]}
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
	for _, run := range r.Result.Runs[:len(r.Policies)] {
		if rank(run) < rank(p.after) {
			p.after = run
		}
	}
	p.chooseWeek()
	return p
}

// before returns the run of the policy that starts each job at once.
func (p *picture) before() backtest.Run {
	for _, run := range p.r.Result.Runs {
		if run.Policy.Kind == backtest.Immediate {
			return run
		}
	}
	return backtest.Run{}
}

// chooseWeek chooses the week whose saving is nearest to that of the whole run, the earliest of
// equals; or the whole run, if that is not much longer.
func (p *picture) chooseWeek() {
	jobs, first, last := p.r.Result.Jobs, p.r.Result.Jobs[0].Arrival, p.r.Result.Jobs[0].Arrival
	for i, job := range jobs {
		first = earliest(first, job.Arrival)
		for _, span := range p.after.SpansOf(i, job) {
			last = latest(last, span.End)
		}
	}
	p.from = first.Truncate(day)
	days := int(last.Sub(p.from)/day) + 1
	atOnce, emitted := make([]float64, days+1), make([]float64, days+1) // sums over the days before
	for i, job := range jobs {
		d := int(job.Arrival.Sub(p.from)/day) + 1
		atOnce[d] += job.Weight * p.emission(backtest.Span{Start: job.Arrival, End: job.Arrival.Add(job.Duration)})
		emitted[d] += job.Weight * p.emission(p.after.SpansOf(i, job)...)
	}
	for d := range days {
		atOnce[d+1] += atOnce[d]
		emitted[d+1] += emitted[d]
	}
	overall := 1 - emitted[days]/atOnce[days]
	if p.to, p.isWhole = p.from.Add(time.Duration(days)*day), true; days <= maxWholeDays {
		return
	}
	begin, nearest := p.from, math.Inf(1)
	for d := 0; d+weekDays <= days; d++ {
		saving := 1 - (emitted[d+weekDays]-emitted[d])/(atOnce[d+weekDays]-atOnce[d])
		if off := math.Abs(saving - overall); off < nearest {
			nearest, p.from = off, begin.Add(time.Duration(d)*day)
		}
	}
	p.to, p.isWhole = p.from.Add(weekDays*day), false
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// emission returns what is emitted in some spans: gCO2eq for each kW.
func (p *picture) emission(spans ...backtest.Span) (sum float64) {
	for _, span := range spans {
		mean, _ := p.r.Setup.Actuals.Series.Mean(span.Start, span.End)
		sum += mean * span.End.Sub(span.Start).Hours() * span.Load()
	}
	return sum
}

// intensity draws the panel above.
func (p *picture) intensity() (*plot.Plot, error) {
	panel := p.panel("gCO2eq/kWh")
	which := "the week that is most like the whole run"
	if p.isWhole {
		which = "the whole run"
	}
	panel.Title.Text = fmt.Sprintf("%s: %s saves %.1f %% of the emissions; shown is %s",
		screen.Clean(filepath.Base(p.r.Files.Actual)), p.after.Policy, 100*p.r.Of(p.after.Policy.Kind).Total.Saving, which)
	var points plotter.XYs
	for _, slot := range p.r.Setup.Actuals.Series.Slots() {
		if slot.Start.Before(p.to) && slot.End.After(p.from) {
			points = append(points, plotter.XY{X: p.x(slot.Start), Y: slot.Intensity}, plotter.XY{X: p.x(slot.End), Y: slot.Intensity})
		}
	}
	err := p.add(panel, "carbon intensity", points, color.RGBA{R: 0x33, G: 0x33, B: 0x33, A: 0xff}, nil)
	panel.Y.Max *= 1 + legendShare/2
	return panel, err
}

// jobs draws the panel below.
func (p *picture) jobs() (*plot.Plot, error) {
	unit := "jobs running"
	for _, job := range p.r.Result.Jobs {
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
	panel.Y.Max *= 1 + legendShare
	return panel, err
}

// load returns how much of the jobs runs in each slot.
func (p *picture) load(run backtest.Run) plotter.XYs {
	slot := max(p.r.Setup.Actuals.SlotWidth, p.to.Sub(p.from)/2000)
	running := make([]float64, int(p.to.Sub(p.from)/slot)+1)
	for i, job := range p.r.Result.Jobs {
		for _, span := range run.SpansOf(i, job) {
			p.addLoad(running, slot, job.Weight, span)
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

// addLoad adds the load of a run to each slot that it runs in.
func (p *picture) addLoad(running []float64, slot time.Duration, weight float64, run backtest.Span) {
	if !run.Start.Before(p.to) || !run.End.After(p.from) {
		return
	}
	for k := max(int(run.Start.Sub(p.from)/slot), 0); k < len(running); k++ {
		from, to := p.from.Add(time.Duration(k)*slot), p.from.Add(time.Duration(k+1)*slot)
		share := earliest(run.End, to).Sub(latest(run.Start, from))
		if share <= 0 {
			break
		}
		running[k] += weight * run.Load() * float64(share) / float64(slot)
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// panel returns an empty panel, with the days at its foot.
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

// ticks returns the days, at midnight.
func (p *picture) ticks() plot.ConstantTicks {
	var ticks []plot.Tick
	for t := p.from; !t.After(p.to); t = t.Add(day) {
		ticks = append(ticks, plot.Tick{Value: p.x(t), Label: t.Format("Mon 2006-01-02")[:14]})
	}
	return ticks
}

func (p *picture) x(t time.Time) float64 { return float64(t.Unix()) }

// add adds a line. If a fill colour is given, the area below the line is filled.
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
