package gating

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Movable reports whether the policy can tell the nodes of several locations
// apart: only then is it chosen where work runs.
func (p *Policy) Movable() bool {
	selectable := 0
	for _, l := range p.spec.Locations {
		if len(l.NodeSelector) > 0 {
			selectable++
		}
	}
	return selectable > 1
}

// settle finds out which locations have nodes, and with what power factors.
func (p *Policy) settle(ctx context.Context, nodes *Nodes) {
	if !p.Movable() {
		return
	}
	p.nodes = nodes
	var wrong []string
	for _, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		s := nodes.having(ctx, l.NodeSelector)
		if len(s.nodes) > 0 {
			p.places = append(p.places, plan.Site{Name: l.Name, PowerFactor: s.least})
		}
		wrong = append(wrong, s.wrong...)
	}
	if len(p.places) == 0 { // or nodes are not known
		p.places = []plan.Site{{Name: p.location(""), PowerFactor: 1}}
	}
	if len(wrong) > mostWrong {
		wrong = append(wrong[:mostWrong:mostWrong], fmt.Sprintf("and %d more like this", len(wrong)-mostWrong))
	}
	p.Problems = append(p.Problems, wrong...)
}

// mostWrong is how many nodes are named that have no usable power factor.
const mostWrong = 3

// populated reports whether a location is among those that have nodes.
func (p *Policy) populated(location string) bool {
	return slices.ContainsFunc(p.places, func(s plan.Site) bool { return s.Name == location })
}

// candidates returns where work may be put that is pinned to a location, or to
// nodes at only some of them (see Candidates), or to nothing; none if the policy
// does not choose.
func (p *Policy) candidates(pin, only string) []plan.Site {
	if !p.Movable() {
		return nil
	}
	sites := p.noted(only)
	if pin == "" {
		return sites
	}
	for _, s := range sites {
		if s.Name == pin {
			return []plan.Site{s}
		}
	}
	return []plan.Site{{Name: pin, PowerFactor: 1}}
}

// noted reads the annotation Candidates.
func (p *Policy) noted(only string) []plan.Site {
	if only == "" {
		return p.places
	}
	var populated, others []plan.Site
	for _, l := range p.spec.Locations {
		s, ok := readSite(only, l.Name)
		switch {
		case !ok:
		case p.populated(l.Name):
			populated = append(populated, s)
		default: // its nodes are gone, and may come back
			others = append(others, s)
		}
	}
	if len(populated) > 0 {
		return populated
	}
	if len(others) > 0 {
		return others
	}
	return p.places
}

const (
	// separator is what stands between two locations in Candidates.
	separator = ","
	// factored is what stands between a location and its power factor.
	factored = "="
)

// readSite finds a location in a list that writeSites has written.
func readSite(list, name string) (plan.Site, bool) {
	rest, found := separator+list+separator, true
	for found {
		_, rest, found = strings.Cut(rest, separator+name)
		if strings.HasPrefix(rest, separator) {
			return plan.Site{Name: name, PowerFactor: 1}, true
		}
		if text, ok := strings.CutPrefix(rest, factored); ok {
			text, _, _ = strings.Cut(text, separator)
			if factor, err := v1alpha1.ParsePowerFactor(text); err == nil {
				return plan.Site{Name: name, PowerFactor: factor}, true
			}
		}
	}
	return plan.Site{}, false
}

func writeSites(sites []plan.Site) string {
	list := make([]string, len(sites))
	for i, s := range sites {
		list[i] = s.Name
		if s.PowerFactor != 1 {
			list[i] += factored + strconv.FormatFloat(s.PowerFactor, 'g', -1, 64)
		}
	}
	return strings.Join(list, separator)
}

// names are those of all locations.
func (p *Policy) names() []string {
	names := make([]string, len(p.spec.Locations))
	for i, l := range p.spec.Locations {
		names[i] = l.Name
	}
	return names
}

// Suiting returns the value of the annotation Candidates for a pod: empty if its
// own node selector and required node affinity leave it as free as the policy does.
// A location suits it that has a node which does. If there is none anywhere, those
// are left out that its node selector contradicts.
func (p *Policy) Suiting(ctx context.Context, pod *corev1.PodSpec) string {
	if !p.Movable() || undemanding(pod) {
		return ""
	}
	required := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: *pod})
	suits := func(n *corev1.Node) bool {
		match, err := required.Match(n)
		return match || err != nil // the API server refuses what cannot be read
	}
	var suiting, possible []plan.Site
	for _, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		if power, ok := p.nodes.having(ctx, l.NodeSelector).power(suits); ok {
			suiting = append(suiting, plan.Site{Name: l.Name, PowerFactor: power})
		}
		if !contradict(pod.NodeSelector, l.NodeSelector) {
			possible = append(possible, plan.Site{Name: l.Name, PowerFactor: 1})
		}
	}
	if len(suiting) == 0 {
		suiting = possible
	}
	if len(suiting) == 0 || containsAll(suiting, p.places) {
		return ""
	}
	return writeSites(suiting)
}

// undemanding reports whether a pod may run on any node, as far as labels go.
func undemanding(pod *corev1.PodSpec) bool {
	affinity := pod.Affinity
	return len(pod.NodeSelector) == 0 &&
		(affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil)
}

// contradict reports whether no node can have all labels of both.
func contradict(a, b map[string]string) bool {
	for key, value := range a {
		if other, ok := b[key]; ok && other != value {
			return true
		}
	}
	return false
}

func containsAll(all, some []plan.Site) bool {
	return !slices.ContainsFunc(some, func(s plan.Site) bool { return !slices.Contains(all, s) })
}

// Decide plans work by itself, at a location or, if the policy chooses, in those
// that the task may run in. An empty location is the policy's first.
func (p *Policy) Decide(book *forecast.Book, location string, now time.Time, task plan.Task) plan.Decision {
	if len(task.Locations) == 0 {
		return p.Outlook(book, location, now, task.LatestStart).Decide(task)
	}
	fleets := make([]*plan.Fleet, len(task.Locations))
	for i, site := range task.Locations {
		fleets[i] = p.Outlook(book, site.Name, now, task.LatestStart).Fleet(plan.Buckets{}, nil)
	}
	return plan.Assign([]plan.Group{{Task: task}}, fleets[0], fleets[1:]...)[0]
}

// placed returns where what has these annotations is, or is to be: where the
// policy has put it, or else where it was asked for.
func (p *Policy) placed(annotations map[string]string) string {
	to := annotations[PlannedLocation]
	if p.Movable() && slices.ContainsFunc(p.spec.Locations, func(l v1alpha1.Location) bool { return l.Name == to }) {
		return to
	}
	return p.location(annotations[Location])
}

// Preference returns what makes the scheduler prefer the nodes of a location;
// false if the policy does not choose between locations, or cannot say which
// nodes those are.
func (p *Policy) Preference(location string) (corev1.PreferredSchedulingTerm, bool) {
	term := corev1.PreferredSchedulingTerm{Weight: 100}
	if !p.Movable() {
		return term, false
	}
	for _, l := range p.spec.Locations {
		if l.Name != location || checkSelector(l.NodeSelector) != nil {
			continue // the API server would refuse it
		}
		for _, key := range slices.Sorted(maps.Keys(l.NodeSelector)) {
			term.Preference.MatchExpressions = append(term.Preference.MatchExpressions, corev1.NodeSelectorRequirement{
				Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{l.NodeSelector[key]},
			})
		}
	}
	return term, len(term.Preference.MatchExpressions) > 0
}

// Preferred returns the preferences of a pod for nodes.
func Preferred(pod *corev1.PodSpec) []corev1.PreferredSchedulingTerm {
	if pod.Affinity == nil || pod.Affinity.NodeAffinity == nil {
		return nil
	}
	return pod.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
}

// Prefers reports whether a preference is among those of a pod.
func Prefers(pod *corev1.PodSpec, term corev1.PreferredSchedulingTerm) bool {
	return slices.ContainsFunc(Preferred(pod), func(t corev1.PreferredSchedulingTerm) bool {
		return equality.Semantic.DeepEqual(t, term)
	})
}
