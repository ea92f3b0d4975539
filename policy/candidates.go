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
	for i, l := range p.spec.Locations {
		if len(l.NodeSelector) == 0 {
			continue
		}
		if power, ok := p.at(ctx, i).power(suits); ok {
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
