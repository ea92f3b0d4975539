package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// ChoosesLocation reports whether Gridlatch chooses where work runs: at least two locations of the
// policy have node selectors.
func (p *Policy) ChoosesLocation() bool {
	selectable := 0
	for _, l := range p.spec.Locations {
		if len(l.NodeSelector) > 0 {
			selectable++
		}
	}
	return selectable > 1
}

// findSites finds out which locations have nodes, and the least power factor of these nodes.
func (p *Policy) findSites(ctx context.Context, nodes *Nodes) {
	if !p.ChoosesLocation() {
		return
	}
	p.nodes = nodes
	var wrong []string
	for i, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		there := p.nodesAt(ctx, i)
		if len(there.nodes) > 0 {
			p.sites = append(p.sites, plan.Site{Name: l.Name, PowerFactor: there.leastPower})
		}
		wrong = append(wrong, there.problems...)
	}
	if len(p.sites) == 0 { // or nodes are not known
		p.sites = []plan.Site{{Name: p.ResolveLocation(""), PowerFactor: 1}}
	}
	if len(wrong) > maxNodeProblems {
		wrong = append(wrong[:maxNodeProblems:maxNodeProblems], fmt.Sprintf("and %d more like this", len(wrong)-maxNodeProblems))
	}
	p.Problems = append(p.Problems, wrong...)
}

// nodesAt returns the nodes of the i-th location. A node with the labels of an earlier location
// belongs to the earlier one, as in the extender.
func (p *Policy) nodesAt(ctx context.Context, i int) nodeSet {
	own := p.spec.Locations[i].NodeSelector
	var taken []map[string]string
	for _, l := range p.spec.Locations[:i] {
		if len(l.NodeSelector) > 0 && !areContradictory(l.NodeSelector, own) {
			taken = append(taken, l.NodeSelector)
		}
	}
	return p.nodes.nodesWith(ctx, own, taken...)
}

// maxNodeProblems is how many nodes Problems names for their power factors.
const maxNodeProblems = 3

// HasNodes reports whether a location is among those that have nodes.
func (p *Policy) HasNodes(location string) bool {
	return slices.ContainsFunc(p.sites, func(s plan.Site) bool { return s.Name == location })
}

// LocationOf returns the location of work with these annotations: the location that the policy has
// planned, or else the location that the work asks for.
func (p *Policy) LocationOf(annotations map[string]string) string {
	to := annotations[v1alpha1.PlannedLocationAnnotation]
	if p.ChoosesLocation() && slices.ContainsFunc(p.spec.Locations, func(l v1alpha1.Location) bool { return l.Name == to }) {
		return to
	}
	return p.ResolveLocation(annotations[v1alpha1.LocationAnnotation])
}

// LocationOfNode returns the location of a node with these labels; false if the policy does not tell. A
// node with the labels of two locations belongs to the first.
func (p *Policy) LocationOfNode(labels map[string]string) (string, bool) {
	for _, l := range p.spec.Locations {
		if len(l.NodeSelector) > 0 && hasAll(labels, l.NodeSelector) {
			return l.Name, true
		}
	}
	return "", false
}

// HomeOf returns the location that a pod is meant for: the location that the pod asks for or, under
// a policy with buckets, the location whose ceiling counts the pod. The location is empty if any
// will do.
func (p *Policy) HomeOf(pod metav1.Object) string {
	annotations := pod.GetAnnotations()
	if pinned := annotations[v1alpha1.LocationAnnotation]; pinned != "" || !p.HasBuckets() {
		return pinned
	}
	return p.LocationOf(annotations)
}

// IsStrict reports whether a pod must stay off nodes in dirtier buckets. A pod asks for this, and
// the wish ends at the latest start.
func IsStrict(pod metav1.Object, task plan.Task, now time.Time) bool {
	return pod.GetAnnotations()[v1alpha1.PlacementAnnotation] == v1alpha1.PlacementStrict && now.Before(task.LatestStart)
}

// Preference returns the term that makes the scheduler prefer the nodes of a location. The result
// is false if the policy does not choose between locations, or does not know the labels of the
// nodes.
func (p *Policy) Preference(location string) (corev1.PreferredSchedulingTerm, bool) {
	term := corev1.PreferredSchedulingTerm{Weight: 100}
	if !p.ChoosesLocation() {
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

// Preferences returns the preferences of a pod for nodes.
func Preferences(pod *corev1.PodSpec) []corev1.PreferredSchedulingTerm {
	if pod.Affinity == nil || pod.Affinity.NodeAffinity == nil {
		return nil
	}
	return pod.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
}

// HasPreference reports whether a pod has a preference.
func HasPreference(pod *corev1.PodSpec, term corev1.PreferredSchedulingTerm) bool {
	return slices.ContainsFunc(Preferences(pod), func(t corev1.PreferredSchedulingTerm) bool {
		return equality.Semantic.DeepEqual(t, term)
	})
}
