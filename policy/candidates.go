package policy

import (
	"context"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// candidates returns the sites where work may run. Work can be pinned to a location, or limited to
// the locations in only, see [Ask]. There are no candidates if the policy does not choose between
// locations.
func (p *Policy) candidates(pin, only string) []plan.Site {
	if !p.ChoosesLocation() {
		return nil
	}
	sites := p.candidateSites(only)
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

// candidateSites reads the annotation [v1alpha1.CandidateLocationsAnnotation]. Sites that have
// nodes now come before sites whose nodes are gone.
func (p *Policy) candidateSites(only string) []plan.Site {
	if only == "" {
		return p.sites
	}
	var populated, others []plan.Site
	for _, l := range p.spec.Locations {
		s, ok := readSite(only, l.Name)
		switch {
		case !ok:
		case p.HasNodes(l.Name):
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
	return p.sites
}

const (
	// siteSeparator stands between two locations in the annotation.
	siteSeparator = ","
	// factorSeparator stands between a location and its power factor.
	factorSeparator = "="
)

// readSite finds a location in a list that writeSites has written.
func readSite(list, name string) (plan.Site, bool) {
	rest, found := siteSeparator+list+siteSeparator, true
	for found {
		_, rest, found = strings.Cut(rest, siteSeparator+name)
		if strings.HasPrefix(rest, siteSeparator) {
			return plan.Site{Name: name, PowerFactor: 1}, true
		}
		if text, ok := strings.CutPrefix(rest, factorSeparator); ok {
			text, _, _ = strings.Cut(text, siteSeparator)
			if factor, err := v1alpha1.ParsePowerFactor(text); err == nil {
				return plan.Site{Name: name, PowerFactor: factor}, true
			}
		}
	}
	return plan.Site{}, false
}

// writeSites writes the annotation [v1alpha1.CandidateLocationsAnnotation].
func writeSites(sites []plan.Site) string {
	list := make([]string, len(sites))
	for i, s := range sites {
		list[i] = s.Name
		if s.PowerFactor != 1 {
			list[i] += factorSeparator + strconv.FormatFloat(s.PowerFactor, 'g', -1, 64)
		}
	}
	return strings.Join(list, siteSeparator)
}

// SuitableLocations returns the annotation [v1alpha1.CandidateLocationsAnnotation] for a pod. A
// location is suitable if a node there matches the pod's own node selector and required node
// affinity. If no node matches anywhere, each location is suitable that the node selector does not
// contradict. The result is empty if the pod limits nothing.
func (p *Policy) SuitableLocations(ctx context.Context, pod *corev1.PodSpec) string {
	if !p.ChoosesLocation() || acceptsAnyNode(pod) {
		return ""
	}
	required := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: *pod})
	suits := func(n *corev1.Node) bool {
		match, err := required.Match(n)
		return match || err != nil // the API server refuses what cannot be read
	}
	var suiting, possible []plan.Site
	for i, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		if power, ok := p.nodesAt(ctx, i).leastPowerOf(suits); ok {
			suiting = append(suiting, plan.Site{Name: l.Name, PowerFactor: power})
		}
		if !areContradictory(pod.NodeSelector, l.NodeSelector) {
			possible = append(possible, plan.Site{Name: l.Name, PowerFactor: 1})
		}
	}
	if len(suiting) == 0 {
		suiting = possible
	}
	if len(suiting) == 0 || containsAll(suiting, p.sites) {
		return ""
	}
	return writeSites(suiting)
}

// acceptsAnyNode reports whether a pod may run on any node, as far as labels go.
func acceptsAnyNode(pod *corev1.PodSpec) bool {
	affinity := pod.Affinity
	return len(pod.NodeSelector) == 0 &&
		(affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil)
}

// areContradictory reports whether no node can have all labels of both.
func areContradictory(a, b map[string]string) bool {
	for key, value := range a {
		if other, ok := b[key]; ok && other != value {
			return true
		}
	}
	return false
}

// containsAll reports whether each of some sites is among all.
func containsAll(all, some []plan.Site) bool {
	return !slices.ContainsFunc(some, func(s plan.Site) bool { return !slices.Contains(all, s) })
}
