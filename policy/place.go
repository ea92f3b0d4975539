package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

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
	for i, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		there := p.at(ctx, i)
		if len(there.nodes) > 0 {
			p.places = append(p.places, plan.Site{Name: l.Name, PowerFactor: there.least})
		}
		wrong = append(wrong, there.wrong...)
	}
	if len(p.places) == 0 { // or nodes are not known
		p.places = []plan.Site{{Name: p.ResolveLocation(""), PowerFactor: 1}}
	}
	if len(wrong) > mostWrong {
		wrong = append(wrong[:mostWrong:mostWrong], fmt.Sprintf("and %d more like this", len(wrong)-mostWrong))
	}
	p.Problems = append(p.Problems, wrong...)
}

// at returns the nodes of a location: those with its labels, but for those that
// are at one before it, as the extender takes them.
func (p *Policy) at(ctx context.Context, i int) pool {
	own := p.spec.Locations[i].NodeSelector
	var taken []map[string]string
	for _, l := range p.spec.Locations[:i] {
		if len(l.NodeSelector) > 0 && !contradict(l.NodeSelector, own) {
			taken = append(taken, l.NodeSelector)
		}
	}
	return p.nodes.having(ctx, own, taken...)
}

// mostWrong is how many nodes are named that have no usable power factor.
const mostWrong = 3

// populated reports whether a location is among those that have nodes.
func (p *Policy) HasNodes(location string) bool {
	return slices.ContainsFunc(p.places, func(s plan.Site) bool { return s.Name == location })
}

// names are those of all locations.
func (p *Policy) LocationNames() []string {
	names := make([]string, len(p.spec.Locations))
	for i, l := range p.spec.Locations {
		names[i] = l.Name
	}
	return names
}

// Decide plans work by itself, at a location or, if the policy chooses, in those
// that the task may run in. An empty location is the policy's first.
func (p *Policy) Decide(book *forecast.Snapshot, location string, now time.Time, task plan.Task) plan.Decision {
	if len(task.Locations) == 0 {
		return p.Planner(book, location, now, task.LatestStart).Decide(task)
	}
	fleets := make([]*plan.Fleet, len(task.Locations))
	for i, site := range task.Locations {
		fleets[i] = p.Planner(book, site.Name, now, task.LatestStart).Fleet(plan.Buckets{}, nil)
	}
	return plan.Assign([]plan.Group{{Task: task}}, fleets[0], fleets[1:]...)[0]
}

// placed returns where what has these annotations is, or is to be: where the
// policy has put it, or else where it was asked for.
func (p *Policy) LocationOf(annotations map[string]string) string {
	to := annotations[v1alpha1.PlannedLocationAnnotation]
	if p.Movable() && slices.ContainsFunc(p.spec.Locations, func(l v1alpha1.Location) bool { return l.Name == to }) {
		return to
	}
	return p.ResolveLocation(annotations[v1alpha1.LocationAnnotation])
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
