package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Explanation says why work waits, and for how long.
func (p Page) Explanation(x *cluster.Explanation) {
	p.Out.Printf("%s%s%s\n", screen.Bold, headline(x), screen.Plain)
	if x.Reason != "" {
		p.Out.Printf("  %s\n", x.Reason)
	}
	switch x.State {
	case cluster.Undecided:
		p.Out.Printf("  This %s asks to wait, but Gridlatch has not decided about it. Either Gridlatch did not run when\n"+
			"  the %s was created, or Gridlatch ignores this namespace, or the annotation was added later.\n", x.Kind.Noun(), x.Kind.Noun())
	case cluster.NotOptedIn:
		p.Out.Printf("  This %s does not ask to wait. Work waits if it is created with the annotation\n"+
			"  %s: \"true\".\n", x.Kind.Noun(), v1alpha1.DelayTolerantAnnotation)
		if x.Kind == cluster.JobKind {
			p.Out.Printf("  A Job that has not started yet can still be held: kubectl gridlatch hold job/%s -n %s\n", x.Name, x.Namespace)
		}
	}
	p.facts(x)
	p.prediction(x)
}

// headline says in which state the work is, and until when.
func headline(x *cluster.Explanation) string {
	name := fmt.Sprintf("%s/%s in namespace %s", x.Kind, x.Name, x.Namespace)
	if x.Job != "" {
		name += ", a pod of job/" + x.Job + ","
	}
	switch x.State {
	case cluster.Held:
		if x.OverdueSince != nil {
			return fmt.Sprintf("%s is still held, and has been overdue since %s, for %s", name, plan.FormatTime(*x.OverdueSince), roughly(x.Now.Sub(*x.OverdueSince)))
		}
		if x.PlannedStart == nil {
			return name + " waits, and is not planned yet"
		}
		if x.Pausing.IsPaused() {
			return fmt.Sprintf("%s is paused until %s%s", name, plan.FormatTime(*x.PlannedStart), in(x.PlannedStart.Sub(x.Now)))
		}
		return fmt.Sprintf("%s waits until %s%s", name, plan.FormatTime(*x.PlannedStart), in(x.PlannedStart.Sub(x.Now)))
	case cluster.Released:
		if x.Pausing != nil && x.Pausing.Pauses > 0 { // its first pods have gone
			return fmt.Sprintf("%s runs again, after %s", name, Count(x.Pausing.Pauses, "pause"))
		}
		if x.Started == nil {
			return name + " has been released"
		}
		waited := x.Started.Sub(x.Created)
		return fmt.Sprintf("%s started at %s, %s after its creation", name, plan.FormatTime(*x.Started), roughly(max(waited, 0)))
	case cluster.Audited:
		return name + " is audited, and was not held"
	default:
		return name + " is not held by Gridlatch"
	}
}

// facts prints the facts that need no prediction.
func (p Page) facts(x *cluster.Explanation) {
	table := p.Out.Table(2)
	fact := func(name, value string) {
		if value != "" {
			table.Row("  "+name, value)
		}
	}
	if x.State == cluster.Held || x.State == cluster.Released {
		p.Out.Printf("\n")
		fact("policy", x.Policy)
		fact("asks for", asks(x.Asked))
		fact("held by", means(x))
		widths(x.Widths, fact)
		pausing(x.Pausing, fact)
	}
	switch {
	case x.State != cluster.Held || x.LatestStart == nil:
	case x.Pausing.IsPaused() && x.OverdueSince == nil:
		fact("resumes by", plan.FormatTime(*x.LatestStart)+", whatever the grid does")
	case x.OverdueSince != nil:
		fact("latest start", plan.FormatTime(*x.LatestStart))
	default:
		fact("latest start", plan.FormatTime(*x.LatestStart)+", whatever the grid does")
	}
	fact("refused", x.Refused)
	if x.Origin != nil {
		fact("grid", credit(x.Origin.String(), x.Attribution))
	}
	table.Flush()
}

// asks lists annotations without their prefix.
func asks(asked map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(asked)) {
		all = append(all, strings.TrimPrefix(key, v1alpha1.Prefix)+" "+asked[key])
	}
	return strings.Join(all, ", ")
}

// means says what holds the work.
func means(x *cluster.Explanation) string {
	switch x.HeldBy {
	case v1alpha1.HoldByGate:
		return "the scheduling gate " + v1alpha1.Gate + " on " + Count(x.Pods, "pod")
	case v1alpha1.HoldBySuspend:
		return "spec.suspend of the Job, which will run " + Count(x.Pods, "pod") + " at once"
	case v1alpha1.HoldByKueue:
		return "its queue in Kueue, which waits for Gridlatch"
	default:
		return x.HeldBy
	}
}

// prediction compares the planned start with others, and draws the prediction of the grid.
func (p Page) prediction(x *cluster.Explanation) {
	hasPlan := x.Pausing != nil && x.Pausing.Unpaused == "" || x.Widths != nil
	if x.State != cluster.Held && !hasPlan {
		return
	}
	if x.Expected.IsEmpty() {
		p.Out.Printf("\nNothing is known about the grid from here, so that no other starts can be shown.\n")
		return
	}
	if len(x.Windows) > 0 {
		p.Out.Printf("\n")
		p.windows(x.Windows)
	}
	p.plans(x)
	p.signals(x.Signals)
	if drawing, ok := p.drawing(x); ok {
		p.Out.Printf("\n")
		drawing.draw(p.Out)
	}
}

// basis names the prediction that is drawn.
func basis(x *cluster.Explanation) string {
	switch {
	case x.Basis == forecast.BasisHistory:
		return "prediction from the last weeks (there is no forecast)"
	case x.Basis == forecast.BasisWeather:
		return "prediction from the weather and the last weeks (there is no forecast)"
	case x.Learned:
		return "forecast, corrected by what Gridlatch has learned"
	default:
		return "forecast as published (what Gridlatch has learned cannot be read)"
	}
}

func (p Page) signals(all []cluster.Signal) {
	if len(all) == 0 {
		return
	}
	p.Out.Printf("\nThe intensity that is predicted for the hour of the planned start is the sum of:\n")
	for _, s := range all {
		p.Out.Printf("%+8.1f  %s\n", s.Intensity, s.Signal)
	}
}
