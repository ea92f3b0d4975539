package gating

import (
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// heed makes due what does not ask to wait any more. A Job speaks for its pods; of
// the pods of other owners, each speaks for itself.
func (p *pass) releaseWithdrawn() {
	all := p.groups
	p.groups = make([]*group, 0, len(all))
	for _, g := range all {
		p.groups = append(p.groups, g)
		switch {
		case g.wasReleased:
		case g.job != nil:
			if isWithdrawn(g.job) {
				g.withdraw()
			}
		default:
			p.groups = append(p.groups, g.splitWithdrawn()...)
		}
	}
}

// part takes out of a group without a Job the pods that do not ask to wait any
// more, as groups of their own. A group of which nothing would be left is withdrawn
// whole.
func (g *group) splitWithdrawn() (apart []*group) {
	var stay []*record
	for _, pod := range g.pods {
		if !isWithdrawn(pod) {
			stay = append(stay, pod)
			continue
		}
		gone := *g
		gone.pods = []*record{pod}
		gone.withdraw()
		apart = append(apart, &gone)
	}
	if len(apart) > 0 && len(stay) == 0 {
		*g, apart = *apart[0], apart[1:]
		return apart
	}
	g.pods = stay
	return apart
}

// withdraw makes a group due, where it is cleanest now if that is chosen.
func (g *group) withdraw() {
	g.decision = g.decision.Withdraw()
	if g.location != "" {
		g.location = g.decision.Location
	}
}

// withdraws reports whether held work does not ask to wait any more. What is held
// has asked, so that an annotation which is gone is its user's word, too. Only a pod
// that somebody has put our gate on by hand never asked, and was promised nothing.
func isWithdrawn(o *record) bool {
	wish, said := policy.Wish(o)
	if !said && o.Kind == hold.PodKind().Kind && o.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		return false
	}
	return wish != "true"
}
