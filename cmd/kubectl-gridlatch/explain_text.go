package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/plan"
)

// writeText prints an explanation.
func (x *explanation) writeText(e env) error {
	fmt.Fprintf(e.stdout, "%s\n", bold(e, x.headline()))
	if x.Reason != "" {
		_, why, waits := strings.Cut(x.Reason, ": ")
		if !waits || x.State != stateHeld {
			why = x.Reason
		}
		fmt.Fprintf(e.stdout, "  %s\n", why)
	}
	switch x.State {
	case stateUnseen:
		fmt.Fprintln(e.stdout, "  It asks for it, but Gridlatch has not seen it: it was not there, or leaves this namespace\n"+
			"  alone, or the annotation was added after the creation.")
	case stateForeign:
		fmt.Fprintf(e.stdout, "  It does not ask for it. What is created with the annotation %s: \"true\" can wait", gating.DelayTolerant)
		if x.Kind == jobKind {
			fmt.Fprintf(e.stdout, ";\n  a Job that has not started yet also by: kubectl gridlatch hold job/%s -n %s", x.Name, x.Namespace)
		}
		fmt.Fprintln(e.stdout)
	}
	if err := x.writeFacts(e.stdout); err != nil {
		return err
	}
	return x.writeForecast(e)
}

// headline says what is the case, and until when.
func (x *explanation) headline() string {
	name := fmt.Sprintf("%s/%s in namespace %s", x.Kind, x.Name, x.Namespace)
	if x.Job != "" {
		name += ", one of the pods of job/" + x.Job + ","
	}
	switch x.State {
	case stateHeld:
		if x.PlannedStart == nil {
			return name + " waits, and is not planned yet"
		}
		return fmt.Sprintf("%s waits until %s%s", name, plan.Clock(*x.PlannedStart), in(x.PlannedStart.Sub(x.now)))
	case stateReleased:
		if x.Started == nil {
			return name + " has been let go"
		}
		waited := x.Started.Sub(x.Created)
		return fmt.Sprintf("%s started at %s, %s after its creation", name, plan.Clock(*x.Started), roughly(max(waited, 0)))
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
func (x *explanation) writeFacts(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "  %s\t%s\n", name, value)
		}
	}
	if x.State == stateHeld || x.State == stateReleased {
		fmt.Fprintln(table)
		fact("policy", x.Policy)
		fact("asks for", asks(x.Asked))
		fact("held by", x.means())
	}
	if x.State == stateHeld && x.LatestStart != nil {
		fact("latest start", plan.Clock(*x.LatestStart)+", whatever the grid does")
	}
	return table.Flush()
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
	case gating.HoldByGate:
		return "the scheduling gate " + gating.Gate + " of " + pods
	case gating.HoldBySuspend:
		return "spec.suspend of the Job, which makes " + pods + " at once when it runs"
	case gating.HoldByKueue:
		return "its queue in Kueue, which waits for Gridlatch"
	default:
		return x.HeldBy
	}
}

// writeForecast prints the alternatives, and draws the forecast.
func (x *explanation) writeForecast(e env) error {
	if x.State != stateHeld {
		return nil
	}
	if x.series.Empty() {
		fmt.Fprintln(e.stdout, "\nNothing is known of the grid from here: there is no table of alternatives.")
		return nil
	}
	fmt.Fprintln(e.stdout)
	if err := writeWindows(e.stdout, x.Windows); err != nil {
		return err
	}
	if err := x.writeSignals(e.stdout); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout)
	drawing := newChart(e, x.series, x.now, later(*x.PlannedStart, x.now), x.duration, *x.LatestStart)
	drawing.title = x.basis()
	for _, line := range drawing.lines() {
		fmt.Fprintln(e.stdout, line)
	}
	return nil
}

// basis names what is drawn.
func (x *explanation) basis() string {
	switch {
	case x.Basis == forecast.Past:
		return "expected by what the last weeks were like"
	case x.Learned:
		return "forecast, corrected by what was learned"
	default:
		return "bare forecast (nothing learned can be read)"
	}
}

func writeWindows(w io.Writer, all []window) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, w := range all {
		grams, saving := "unknown", ""
		if w.Intensity != nil {
			grams = fmt.Sprintf("%.1f gCO2eq/kWh", *w.Intensity) + plan.Times(w.PowerFactor)
		}
		if w.Saved != nil {
			saving = fmt.Sprintf("\t%.1f %% %s", math.Abs(*w.Saved), map[bool]string{true: "less", false: "more"}[*w.Saved >= 0])
		}
		fmt.Fprintf(table, "  %s\t%s to %s\t%s%s\n", w.Name, w.Start.Format("Jan 2 15:04"), w.End.Format("Jan 2 15:04"), grams, saving)
	}
	return table.Flush()
}

func (x *explanation) writeSignals(w io.Writer) error {
	if len(x.Signals) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nWhat is expected of the hour of the planned start is the sum of:\n")
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, s := range x.Signals {
		fmt.Fprintf(table, "%+.1f\t  %s\n", s.Intensity, s.Signal)
	}
	return table.Flush()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
