package render

import (
	"cmp"
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
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// timelineColumns is how many columns the hours and numbers of the timeline take.
	timelineColumns = 34
	// minBarColumns is how many columns the longest bar of the timeline takes at least.
	minBarColumns = 10
	// maxUnseen is how many policies are shown that do not exist, or may not be read.
	maxUnseen = 10
)

// Status says what Gridlatch holds, and what starts next.
func (p Page) Status(s *cluster.Status) {
	p.problems(s)
	p.policies(s)
	p.nodePools(s.NodePools, s.Now)
	p.nodeGroups(s.NodeGroups, s.Now)
	where := "in the cluster"
	if s.Namespace != "" {
		where = "in namespace " + s.Namespace
	}
	groups, pods := 0, 0
	for _, policy := range s.Policies {
		groups, pods = groups+policy.Groups, pods+policy.Pods
	}
	p.Out.Printf("%s %s held in %s %s; %s that Gridlatch has released %s running\n",
		Count(pods, "pod"), are(pods), Count(groups, "group"), where, Count(s.Running, "pod"), are(s.Running))
	if s.RunningAudited > 0 {
		p.Out.Printf("%s that Gridlatch only audits %s running\n", Count(s.RunningAudited, "pod"), are(s.RunningAudited))
	}
	p.timeline(s.Releases)
}

// problems says why work may not be released in time, and which was not.
func (p Page) problems(s *cluster.Status) {
	if s.Controller.Problem != "" {
		p.Out.Printf("problem: %s\n", s.Controller.Problem)
	}
	if s.Overdue != nil {
		p.overdue(s.Overdue)
	}
	if s.Controller.Problem != "" || s.Overdue != nil {
		p.Out.Printf("\n")
	}
}

func (p Page) overdue(o *cluster.Overdue) {
	have := "have"
	if o.Groups == 1 {
		have = "has"
	}
	p.Out.Printf("problem: %s with %s %s been overdue since %s\n", Count(o.Groups, "group"), Count(o.Pods, "pod"), have, plan.FormatTime(o.Since))
	for _, g := range o.First {
		p.Out.Printf("  %s in namespace %s, since %s\n", cluster.Work{Kind: g.Kind, Name: g.Name}, g.Namespace, plan.FormatTime(g.Since))
	}
	if more := o.Groups - len(o.First); more > 0 {
		p.Out.Printf("  and %d more\n", more)
	}
}

// policies prints the policies. Of those that are unseen, which come last, the first ones.
func (p Page) policies(s *cluster.Status) {
	unseen := 0
	for _, policy := range s.Policies {
		if policy.IsUnseen {
			unseen++
		}
		if unseen <= maxUnseen {
			p.policy(policy, s.Now)
			p.Out.Printf("\n")
		}
	}
	if more := unseen - maxUnseen; more > 0 {
		p.Out.Printf("%d more CarbonPolicies do not exist, or you may not read them\n\n", more)
	}
}

func (p Page) policy(policy cluster.PolicyStatus, now time.Time) {
	title := "CarbonPolicy " + policy.Name
	if policy.BuiltIn {
		title += " (built in)"
	}
	if policy.IsAudit {
		title += " (mode Audit: holds nothing)"
	}
	p.Out.Printf("%s%s%s\n", screen.Bold, title, screen.Plain)
	for _, problem := range policy.Problems {
		p.Out.Printf("  problem: %s\n", problem)
	}
	p.locations(policy, now)
	next := "no release is planned yet"
	if policy.NextRelease != nil {
		next = "next release " + plan.FormatTime(*policy.NextRelease) + in(policy.NextRelease.Sub(now))
	}
	if policy.Groups == 0 {
		next = "nothing waits"
	}
	paused := ""
	if policy.PausedGroups > 0 {
		paused = fmt.Sprintf(", %d of them paused", policy.PausedGroups)
	}
	p.Out.Printf("  holds %s in %s%s; %s\n", Count(policy.Pods, "pod"), Count(policy.Groups, "group"), paused, next)
	if would := policy.Audited; would != nil {
		p.Out.Printf("  audits: %s in %s would be held now, and can run\n", Count(int(would.Pods), "pod"), Count(int(would.Groups), "group"))
	}
}

// locations prints a row for each location of a policy.
func (p Page) locations(policy cluster.PolicyStatus, now time.Time) {
	if policy.Source == "" {
		return // the policy does not exist, or may not be read
	}
	if len(policy.Locations) == 0 {
		p.Out.Printf("  nothing is known about the grid: there is no usable forecast in ConfigMap %s\n", policy.Source)
		return
	}
	table := p.Out.Table(2)
	isLimited := slices.ContainsFunc(policy.Locations, func(l v1alpha1.LocationStatus) bool { return l.Bucket != "" })
	row := func(name, intensity, bucket, running string, more ...any) {
		cells := []any{"  " + name, intensity}
		if isLimited {
			cells = append(cells, bucket, running)
		}
		table.Row(append(cells, more...)...)
	}
	row("LOCATION", "gCO2eq/kWh", "BUCKET", "RUNNING", "FORECAST", "UNTIL", "MODEL")
	for _, l := range policy.Locations {
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
			until = minute(l.ForecastUntil)
		}
		bucket, running := "unknown", "-"
		if l.Bucket != "" && l.Ceiling != nil {
			bucket, running = l.Bucket, fmt.Sprintf("%d of %d", ptr.Deref(l.Running, 0), *l.Ceiling)
		}
		row(name, intensity, bucket, running, issued, until, model(l))
	}
	table.Flush()
	p.credits(policy.Locations)
	p.pasts(policy.Locations, now)
}

// pasts says of each location with a second source how late it and the provider are.
func (p Page) pasts(locations []v1alpha1.LocationStatus, now time.Time) {
	for _, l := range locations {
		if l.SecondSource != "" {
			p.Out.Printf("  past of %s: %s; second source: %s\n", cmp.Or(l.Name, "the location"), knownUntil(l.ActualUntil, now), l.SecondSource)
		}
	}
}

// knownUntil says how late the actual intensities are.
func knownUntil(until *metav1.Time, now time.Time) string {
	if until == nil {
		return "nothing is known"
	}
	return "known until " + minute(until) + ", " + roughly(max(now.Sub(until.Time), 0)) + " ago"
}

// credits names the providers and the signals of locations, a line for each that differs.
func (p Page) credits(locations []v1alpha1.LocationStatus) {
	var all []string
	for _, l := range locations {
		origin := forecast.Origin{Provider: l.Provider}
		if l.Signal != nil {
			origin.Signal = forecast.Signal{Kind: forecast.Kind(l.Signal.Kind), EmissionFactors: forecast.EmissionFactors(l.Signal.EmissionFactors)}
		}
		if text := credit(origin.String(), l.Attribution); text != "" && !slices.Contains(all, text) {
			all = append(all, text)
			p.Out.Printf("  grid: %s\n", text)
		}
	}
}

// model says how good the model of a location is.
func model(l v1alpha1.LocationStatus) string {
	if l.SavingSharePercent == nil {
		return fmt.Sprintf("learning: %d of %d days", l.LearnedDays, v1alpha1.DaysToLearn)
	}
	skill := fmt.Sprintf("has %d %% of the possible saving, last %d days", *l.SavingSharePercent, v1alpha1.DaysToLearn)
	if l.UsualError != nil {
		skill += fmt.Sprintf(", usual error %d g/kWh", *l.UsualError)
	}
	return skill
}

func minute(t *metav1.Time) string { return t.UTC().Format("Jan 2 15:04") }

// timeline draws how many pods start in each hour.
func (p Page) timeline(releases []cluster.Release) {
	if len(releases) == 0 {
		return
	}
	maxPods := 1
	for _, r := range releases {
		maxPods = max(maxPods, r.Pods)
	}
	p.Out.Printf("\nPods that start, by the hour (UTC)\n")
	maxBar := max(min(p.Width, maxColumns)-timelineColumns, minBarColumns)
	lastDay := ""
	for i, r := range releases {
		label := "later"
		if r.From != nil {
			day := r.From.Format("Jan 2")
			label = fmt.Sprintf("%-6s %s", day, r.From.Format("15:04"))
			if day == lastDay {
				label = fmt.Sprintf("%-6s %s", "", r.From.Format("15:04"))
			}
			lastDay = day
			if i > 0 && r.From.Sub(*releases[i-1].From) > time.Hour {
				p.Out.Printf("      ⋮\n")
			}
		}
		bar := int(math.Ceil(float64(r.Pods) / float64(maxPods) * float64(maxBar)))
		p.Out.Printf("  %-12s ┤%s %d in %s\n", label, strings.Repeat("█", bar), r.Pods, Count(r.Groups, "group"))
	}
}
