package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// writeText prints an explanation.
func (x *explanation) writeText(e env) {
	e.stdout.Printf("%s%s%s\n", screen.Bold, x.headline(), screen.Plain)
	if x.Reason != "" {
		_, why, waits := strings.Cut(x.Reason, ": ")
		if !waits || x.State != stateHeld || x.PlannedStart == nil {
			why = x.Reason
		}
		e.stdout.Printf("  %s\n", why)
	}
	switch x.State {
	case stateUnseen:
		e.stdout.Printf("  It asks for it, but Gridlatch has not seen it: it was not there, or leaves this namespace\n" +
			"  alone, or the annotation was added after the creation.\n")
	case stateForeign:
		e.stdout.Printf("  It does not ask for it. What is created with the annotation %s: \"true\" can wait", v1alpha1.DelayTolerantAnnotation)
		if x.Kind == jobKind {
			e.stdout.Printf(";\n  a Job that has not started yet also by: kubectl gridlatch hold job/%s -n %s", x.Name, x.Namespace)
		}
		e.stdout.Printf("\n")
	}
	x.writeFacts(e.stdout)
	x.writeForecast(e)
}

// headline says what is the case, and until when.
func (x *explanation) headline() string {
	name := fmt.Sprintf("%s/%s in namespace %s", x.Kind, x.Name, x.Namespace)
	if x.Job != "" {
		name += ", one of the pods of job/" + x.Job + ","
	}
	switch x.State {
	case stateHeld:
		if x.OverdueSince != nil {
			return fmt.Sprintf("%s is held, overdue since %s, for %s", name, plan.FormatTime(*x.OverdueSince), roughly(x.now.Sub(*x.OverdueSince)))
		}
		if x.PlannedStart == nil {
			return name + " waits, and is not planned yet"
		}
		return fmt.Sprintf("%s waits until %s%s", name, plan.FormatTime(*x.PlannedStart), in(x.PlannedStart.Sub(x.now)))
	case stateReleased:
		if x.Started == nil {
			return name + " has been let go"
		}
		waited := x.Started.Sub(x.Created)
		return fmt.Sprintf("%s started at %s, %s after its creation", name, plan.FormatTime(*x.Started), roughly(max(waited, 0)))
	default:
		return name + " is not held by Gridlatch"
	}
}

// in says how far off something is; nothing if it is past.
func in(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return ", in " + roughly(d)
}

// writeFacts prints what is known for sure.
func (x *explanation) writeFacts(out *screen.Screen) {
	table := out.Table(2)
	fact := func(name, value string) {
		if value != "" {
			table.Row("  "+name, value)
		}
	}
	if x.State == stateHeld || x.State == stateReleased {
		out.Printf("\n")
		fact("policy", x.Policy)
		fact("asks for", asks(x.Asked))
		fact("held by", x.means())
	}
	switch {
	case x.State != stateHeld || x.LatestStart == nil:
	case x.OverdueSince != nil:
		fact("latest start", plan.FormatTime(*x.LatestStart))
	default:
		fact("latest start", plan.FormatTime(*x.LatestStart)+", whatever the grid does")
	}
	fact("refused", x.Refused)
	table.Flush()
}

// asks lists annotations without their prefix.
func asks(asked map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(asked)) {
		_, name, _ := strings.Cut(key, "/")
		all = append(all, name+" "+asked[key])
	}
	return strings.Join(all, ", ")
}

// means says what holds it.
func (x *explanation) means() string {
	pods := "1 pod"
	if x.Pods != 1 {
		pods = fmt.Sprintf("%d pods", x.Pods)
	}
	switch x.HeldBy {
	case v1alpha1.HoldByGate:
		return "the scheduling gate " + v1alpha1.Gate + " of " + pods
	case v1alpha1.HoldBySuspend:
		return "spec.suspend of the Job, which makes " + pods + " at once when it runs"
	case v1alpha1.HoldByKueue:
		return "its queue in Kueue, which waits for Gridlatch"
	default:
		return x.HeldBy
	}
}

// writeForecast prints the alternatives, and draws the forecast.
func (x *explanation) writeForecast(e env) {
	if x.State != stateHeld {
		return
	}
	if x.series.IsEmpty() {
		e.stdout.Printf("\nNothing is known of the grid from here: there is no table of alternatives.\n")
		return
	}
	e.stdout.Printf("\n")
	writeWindows(e.stdout, x.Windows)
	x.writeSignals(e.stdout)
	e.stdout.Printf("\n")
	drawing := newChart(e, x.series, x.now, later(*x.PlannedStart, x.now), x.duration, *x.LatestStart)
	drawing.title = x.basis()
	drawing.draw(e.stdout)
}

// basis names what is drawn.
func (x *explanation) basis() string {
	switch {
	case x.Basis == forecast.BasisHistory:
		return "expected by what the last weeks were like"
	case x.Learned:
		return "forecast, corrected by what was learned"
	default:
		return "bare forecast (nothing learned can be read)"
	}
}

func writeWindows(out *screen.Screen, all []window) {
	table := out.Table(2)
	for _, w := range all {
		grams := "unknown"
		if w.Intensity != nil {
			grams = fmt.Sprintf("%.1f gCO2eq/kWh", *w.Intensity) + plan.FormatPowerFactor(w.PowerFactor)
		}
		cells := []any{"  " + w.Name, w.Start.Format("Jan 2 15:04") + " to " + w.End.Format("Jan 2 15:04"), grams}
		if w.Saved != nil {
			cells = append(cells, fmt.Sprintf("%.1f %% %s", math.Abs(*w.Saved), map[bool]string{true: "less", false: "more"}[*w.Saved >= 0]))
		}
		table.Row(cells...)
	}
	table.Flush()
}

func (x *explanation) writeSignals(out *screen.Screen) {
	if len(x.Signals) == 0 {
		return
	}
	out.Printf("\nWhat is expected of the hour of the planned start is the sum of:\n")
	for _, s := range x.Signals {
		out.Printf("%+8.1f  %s\n", s.Intensity, s.Signal)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
