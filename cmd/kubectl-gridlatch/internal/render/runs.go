package render

import (
	"fmt"
	"math"
	"time"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/plan"
)

// maxSteps bounds how many steps of a plan are listed.
const maxSteps = 12

// pausing prints how work that may be paused stands, one fact at a time.
func pausing(p *cluster.Pausing, fact func(name, value string)) {
	if p == nil {
		return
	}
	switch {
	case p.IsPaused():
		fact("paused", fmt.Sprintf("since %s, after %s of work", plan.FormatTime(*p.Since), p.Ran))
	case p.Ran != "":
		fact("has run", p.Ran)
	}
	if p.Pauses > 0 {
		fact("pauses", fmt.Sprintf("%d of %d at most", p.Pauses, plan.MaxRuns-1))
	}
	fact("left", p.Remaining+" of work; each resume costs "+p.RestartCost)
	if p.FinishBy != nil {
		fact("done by", plan.FormatTime(*p.FinishBy)+", whatever the grid does")
	}
	if p.Unpaused != "" {
		fact("runs on", p.Unpaused)
	}
}

// widths prints how many pods run of work that may run wider.
func widths(w *cluster.Widths, fact func(name, value string)) {
	if w == nil {
		return
	}
	whose := "its own"
	switch {
	case w.IsTaken:
		whose = "set by somebody else, so Gridlatch leaves it alone"
	case w.Own != nil:
		whose = fmt.Sprintf("%d without Gridlatch", *w.Own)
	}
	fact("width", fmt.Sprintf("%s at once (%s); asks for %d to %d", Count(w.Now, "pod"), whose, w.Least, w.Most))
}

// plans prints the runs and the widths that are planned.
func (p Page) plans(x *cluster.Explanation) {
	if r := x.Pausing; r.HasPauses() {
		p.Out.Printf("\nPlanned in %s%s\n", Count(len(r.Runs), "run"), saves(r.Saved, "a run without a break"))
		p.steps(r.Runs, func(i int) string { return fmt.Sprintf("run %d", i+1) })
	}
	if w := x.Widths; w != nil && len(w.Steps) > 0 {
		p.Out.Printf("\nPlanned widths%s\n", saves(w.Saved, "the least width from now on"))
		p.steps(w.Steps, func(i int) string { return Count(w.Steps[i].Pods, "pod") })
	}
}

// saves says what a plan saves against another, if that is worth telling.
func saves(percent *float64, against string) string {
	if percent == nil || math.Abs(*percent) < 0.05 {
		return ":"
	}
	word := "less"
	if *percent < 0 {
		word = "more"
	}
	return fmt.Sprintf(", which emit %.1f %% %s than %s:", math.Abs(*percent), word, against)
}

// steps prints a row for each step of a plan: of a long plan, the first ones.
func (p Page) steps(all []cluster.Step, name func(i int) string) {
	table := p.Out.Table(2)
	for i, s := range all[:min(len(all), maxSteps)] {
		intensity := "unknown"
		if s.Intensity != nil {
			intensity = fmt.Sprintf("%.1f gCO2eq/kWh", *s.Intensity)
		}
		table.Row("  "+name(i), s.Start.Format("Jan 2 15:04")+" to "+s.End.Format("Jan 2 15:04"), intensity)
	}
	table.Flush()
	if more := len(all) - maxSteps; more > 0 {
		p.Out.Printf("  and %d more, until %s\n", more, all[len(all)-1].End.Format("Jan 2 15:04"))
	}
}

// spans returns what is drawn of the planned runs or widths; none if nothing is planned but one run.
func spans(x *cluster.Explanation) (all []span, title string) {
	hasStarted := x.State == cluster.Released
	switch {
	case x.Pausing.HasPauses() || x.Pausing != nil && hasStarted:
		return runs(x.Pausing, hasStarted, x.Now), "run"
	case x.Widths != nil && len(x.Widths.Steps) > 0:
		return widest(x.Widths)
	default:
		return nil, "run"
	}
}

// runs returns the planned runs of work. Of work that has started, the first one has begun, unless it is to
// be paused now.
func runs(p *cluster.Pausing, hasStarted bool, now time.Time) (all []span) {
	for i, run := range p.Runs {
		word := "resume"
		switch {
		case i > 0:
		case hasStarted && !run.Start.After(now):
			word = runsNow
		case !hasStarted && !p.IsPaused():
			word = "start"
		}
		all = append(all, span{run.Start, run.End, word})
	}
	return all
}

// widest returns the times in which a Job runs wider than at the least; all of its run if there are none.
func widest(w *cluster.Widths) (all []span, title string) {
	for _, step := range w.Steps {
		last := len(all) - 1
		switch {
		case step.Pods <= w.Least:
		case last >= 0 && all[last].end.Equal(step.Start):
			all[last].end = step.End
		default:
			all = append(all, span{step.Start, step.End, Count(step.Pods, "pod")})
		}
	}
	if first := w.Steps[0]; len(all) == 0 {
		return []span{{first.Start, w.Steps[len(w.Steps)-1].End, Count(first.Pods, "pod")}}, "run"
	}
	return all, "run with more pods than the least"
}

// drawing returns the chart of what is planned.
func (p Page) drawing(x *cluster.Explanation) (c chart, ok bool) {
	planned, title := spans(x)
	start, run := x.Now, x.Run
	if x.PlannedStart != nil && x.PlannedStart.After(x.Now) {
		start = *x.PlannedStart
	}
	latest := start
	if x.State == cluster.Held && x.LatestStart != nil {
		latest = *x.LatestStart
	}
	if len(planned) == 0 && x.State != cluster.Held {
		return c, false
	}
	if len(planned) > 0 {
		start = planned[0].start
		run = planned[0].end.Sub(start)
	}
	c = newChart(p.Width, x.Expected, x.Now, start, run, latest)
	if len(planned) > 0 {
		c = c.withSpans(p.Width, planned)
	} else if x.Pausing.IsPaused() {
		c.spans[0].word = "resume"
	}
	c.title, c.runTitle = basis(x), title
	return c, true
}

// span is a time that is drawn as a run.
type span struct {
	start, end time.Time
	word       string // for the mark at its start
}
