// Package render shows people what the commands have found out: as text, as charts of characters,
// and as pictures.
package render

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/plan"
)

// Page prints text.
type Page struct {
	Out *screen.Screen
	// Width is the width of the terminal in columns.
	Width int
}

// Plan says when work would start, why, and what that saves, and draws the forecast.
func (p Page) Plan(a answer.Plan) {
	d := a.Decision
	headline, why := "start at once", d.Why()
	if d.Holds() {
		headline = fmt.Sprintf("start at %s%s", plan.FormatTime(d.Start), in(d.Start.Sub(d.Decided)))
		why += "; latest start " + plan.FormatTime(d.LatestStart)
	}
	p.Out.Printf("%s%s%s\n  %s\n\n", screen.Bold, capital(headline), screen.Plain, why)
	p.windows(a.Windows())
	if !a.Expected.IsEmpty() {
		p.Out.Printf("\n")
		newChart(p.Width, a.Expected, d.Decided, d.Start, d.Duration, d.LatestStart).draw(p.Out)
	}
	if provider := a.Provider(); provider != nil {
		p.Out.Printf("\n%s\n", capital(credit(provider.Origin.String(), provider.Attribution)))
	}
}

// credit adds the attribution that the licence demands to what names the provider and the signal.
func credit(origin, attribution string) string {
	if attribution == "" {
		return origin
	}
	return origin + ". " + attribution
}

// capital returns a sentence with a capital letter.
func capital(sentence string) string { return strings.ToUpper(sentence[:1]) + sentence[1:] }

// windows prints a row for each window.
func (p Page) windows(all []answer.Window) {
	table := p.Out.Table(2)
	for _, w := range all {
		intensity := "unknown"
		if w.Intensity != nil {
			intensity = fmt.Sprintf("%.1f gCO2eq/kWh", *w.Intensity) + plan.FormatPowerFactor(w.PowerFactor)
		}
		cells := []any{"  " + w.Name, w.Start.Format("Jan 2 15:04") + " to " + w.End.Format("Jan 2 15:04"), intensity}
		if w.Saved != nil {
			cells = append(cells, fmt.Sprintf("%.1f %% %s", math.Abs(*w.Saved), map[bool]string{true: "less", false: "more"}[*w.Saved >= 0]))
		}
		table.Row(cells...)
	}
	table.Flush()
}

// Count returns a number of things in words, such as "2 pods".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// are returns the verb for a number of things.
func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// in says how far off an instant is, and nothing if the instant is past.
func in(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return ", in " + roughly(d)
}

// roughly returns a duration for people, such as 5h20m or 3d4h.
func roughly(d time.Duration) string {
	if d < time.Minute {
		return plan.FormatDuration(d.Round(time.Second))
	}
	return plan.FormatDuration(d.Round(time.Minute))
}
