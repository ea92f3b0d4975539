package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/plan"
)

// timelineLabels is how many columns the hours and numbers of the timeline take.
const timelineLabels = 34

// writeText prints a status.
func (s *status) writeText(e env) {
	s.writeProblems(e.stdout)
	s.writePolicies(e.stdout)
	where := "in the cluster"
	if s.Namespace != "" {
		where = "in namespace " + s.Namespace
	}
	groups, pods := 0, 0
	for _, p := range s.Policies {
		groups, pods = groups+p.Groups, pods+p.Pods
	}
	e.stdout.Printf("%s %s held in %s, and %s that Gridlatch has let go %s running, %s\n",
		several(pods, "pod"), are(pods), several(groups, "group"), several(s.Running, "pod"), are(s.Running), where)
	s.writeTimeline(e)
}

// writeProblems says why work may not be let go in time, and which was not.
func (s *status) writeProblems(out *screen.Screen) {
	if s.Controller.Problem != "" {
		out.Printf("problem: %s\n", s.Controller.Problem)
	}
	if s.Overdue != nil {
		s.Overdue.writeText(out)
	}
	if s.Controller.Problem != "" || s.Overdue != nil {
		out.Printf("\n")
	}
}

// writePolicies prints those that there are, and the first of the others, which come last.
func (s *status) writePolicies(out *screen.Screen) {
	const most = 10
	unseen := 0
	for _, p := range s.Policies {
		if p.unseen {
			unseen++
		}
		if unseen <= most {
			p.writeText(out, s.Now)
			out.Printf("\n")
		}
	}
	if more := unseen - most; more > 0 {
		out.Printf("%d more CarbonPolicies do not exist, or may not be read by you\n\n", more)
	}
}

func (p *policyStatus) writeText(out *screen.Screen, now time.Time) {
	title := "CarbonPolicy " + p.Name
	if p.BuiltIn {
		title += " (built in)"
	}
	out.Printf("%s%s%s\n", screen.Bold, title, screen.Plain)
	for _, problem := range p.Problems {
		out.Printf("  problem: %s\n", problem)
	}
	p.writeLocations(out, now)
	next := "nothing is planned"
	if p.NextRelease != nil {
		next = "next release " + plan.FormatTime(*p.NextRelease) + in(p.NextRelease.Sub(now))
	}
	if p.Groups == 0 {
		next = "nothing waits"
	}
	out.Printf("  holds %s in %s; %s\n", several(p.Pods, "pod"), several(p.Groups, "group"), next)
}

// writeLocations prints a row for each location.
func (p *policyStatus) writeLocations(out *screen.Screen, now time.Time) {
	if p.Source == "" {
		return // the policy is gone, or may not be read
	}
	if len(p.Locations) == 0 {
		out.Printf("  nothing is known of the grid; the forecast is to be in ConfigMap %s\n", p.Source)
		return
	}
	table := out.Table(2)
	limited := slices.ContainsFunc(p.Locations, func(l v1alpha1.LocationStatus) bool { return l.Bucket != "" })
	row := func(name, intensity, bucket, running string, more ...any) {
		cells := []any{"  " + name, intensity}
		if limited {
			cells = append(cells, bucket, running)
		}
		table.Row(append(cells, more...)...)
	}
	row("LOCATION", "gCO2eq/kWh", "BUCKET", "RUNNING", "FORECAST", "UNTIL", "MODEL")
	for _, l := range p.Locations {
		name, intensity, issued, until := l.Name, "unknown", "none", "-"
		if name == "" {
			name = "-"
		}
		if l.Intensity != nil {
			intensity = strconv.Itoa(int(*l.Intensity))
		}
		if l.ForecastIssued != nil {
			issued = roughly(max(now.Sub(l.ForecastIssued.Time), 0)) + " old"
		}
		if l.ForecastUntil != nil {
			until = when(l.ForecastUntil)
		}
		bucket, running := "unknown", "-"
		if l.Bucket != "" && l.Ceiling != nil {
			bucket, running = l.Bucket, fmt.Sprintf("%d of %d", ptr.Deref(l.Running, 0), *l.Ceiling)
		}
		row(name, intensity, bucket, running, issued, until, learned(l))
	}
	table.Flush()
}

// learned says what the model of a location is worth.
func learned(l v1alpha1.LocationStatus) string {
	if l.SavingSharePercent == nil {
		return fmt.Sprintf("learning: %d of %d days", l.LearnedDays, v1alpha1.DaysToLearn)
	}
	return fmt.Sprintf("has %d %% of the possible saving, last %d days", *l.SavingSharePercent, v1alpha1.DaysToLearn)
}

func when(t *metav1.Time) string { return t.UTC().Format("Jan 2 15:04") }

// writeTimeline draws how many pods start in which hour.
func (s *status) writeTimeline(e env) {
	if len(s.Releases) == 0 {
		return
	}
	most := 1
	for _, r := range s.Releases {
		most = max(most, r.Pods)
	}
	e.stdout.Printf("\nPods that start, by the hour (UTC)\n")
	widest := max(min(e.width, chartWidest)-timelineLabels, 10)
	day := ""
	for i, r := range s.Releases {
		label := "later"
		if r.From != nil {
			date := r.From.Format("Jan 2")
			label = fmt.Sprintf("%-6s %s", date, r.From.Format("15:04"))
			if date == day {
				label = fmt.Sprintf("%-6s %s", "", r.From.Format("15:04"))
			}
			day = date
			if i > 0 && r.From.Sub(*s.Releases[i-1].From) > time.Hour {
				e.stdout.Printf("      ⋮\n")
			}
		}
		length := int(math.Ceil(float64(r.Pods) / float64(most) * float64(widest)))
		e.stdout.Printf("  %-12s ┤%s %d in %s\n", label, strings.Repeat("█", length), r.Pods, several(r.Groups, "group"))
	}
}

// several prints a number of things.
func several(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
