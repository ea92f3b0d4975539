package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// timelineLabels is how many columns the hours and numbers of the timeline take.
const timelineLabels = 34

// writeText prints a status.
func (s *status) writeText(e env) error {
	for _, p := range s.Policies {
		if err := p.writeText(e, s.Now); err != nil {
			return err
		}
		fmt.Fprintln(e.stdout)
	}
	where := "in the cluster"
	if s.Namespace != "" {
		where = "in namespace " + s.Namespace
	}
	groups, pods := 0, 0
	for _, p := range s.Policies {
		groups, pods = groups+p.Groups, pods+p.Pods
	}
	fmt.Fprintf(e.stdout, "%s %s held in %s, and %s that Gridlatch has let go %s running, %s\n",
		several(pods, "pod"), are(pods), several(groups, "group"), several(s.Running, "pod"), are(s.Running), where)
	s.writeTimeline(e)
	return nil
}

func (p *policyStatus) writeText(e env, now time.Time) error {
	title := "CarbonPolicy " + p.Name
	if p.BuiltIn {
		title += " (built in)"
	}
	fmt.Fprintln(e.stdout, bold(e, title))
	for _, problem := range p.Problems {
		fmt.Fprintf(e.stdout, "  problem: %s\n", problem)
	}
	if err := p.writeLocations(e.stdout, now); err != nil {
		return err
	}
	next := "nothing is planned"
	if p.NextRelease != nil {
		next = "next release " + plan.Clock(*p.NextRelease) + in(p.NextRelease.Sub(now))
	}
	if p.Groups == 0 {
		next = "nothing waits"
	}
	fmt.Fprintf(e.stdout, "  holds %s in %s; %s\n", several(p.Pods, "pod"), several(p.Groups, "group"), next)
	return nil
}

// writeLocations prints a row for each location.
func (p *policyStatus) writeLocations(w io.Writer, now time.Time) error {
	if p.Source == "" {
		return nil // the policy is gone, or may not be read
	}
	if len(p.Locations) == 0 {
		fmt.Fprintf(w, "  nothing is known of the grid; the forecast is to be in ConfigMap %s\n", p.Source)
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	limited := slices.ContainsFunc(p.Locations, func(l v1alpha1.LocationStatus) bool { return l.Bucket != "" })
	fmt.Fprintf(table, "  LOCATION\tgCO2eq/kWh\t%sFORECAST\tUNTIL\tMODEL\n", room(limited, "BUCKET", "RUNNING"))
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
		fmt.Fprintf(table, "  %s\t%s\t%s%s\t%s\t%s\n", name, intensity, room(limited, bucket, running), issued, until, l.Model)
	}
	return table.Flush()
}

// room returns the columns of a policy that limits how many pods run, none for others.
func room(limited bool, bucket, running string) string {
	if !limited {
		return ""
	}
	return bucket + "\t" + running + "\t"
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
	fmt.Fprintf(e.stdout, "\nPods that start, by the hour (UTC)\n")
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
				fmt.Fprintln(e.stdout, "      ⋮")
			}
		}
		length := int(math.Ceil(float64(r.Pods) / float64(most) * float64(widest)))
		fmt.Fprintf(e.stdout, "  %-12s ┤%s %d in %s\n", label, strings.Repeat("█", length), r.Pods, several(r.Groups, "group"))
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
