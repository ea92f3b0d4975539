package gating

import (
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// splitWithdrawn takes the pods that do not ask to wait any more out of a group without a Job, and
// returns them as groups of their own. If no pod stays, the group keeps the first of them and is
// withdrawn.
func (g *group) splitWithdrawn() (withdrawn []*group) {
	var staying []*record
	for _, pod := range g.pods {
		if !isWithdrawn(pod) {
			staying = append(staying, pod)
			continue
		}
		single := *g
		single.pods = []*record{pod}
		single.withdraw()
		withdrawn = append(withdrawn, &single)
	}
	if len(withdrawn) > 0 && len(staying) == 0 {
		*g, withdrawn = *withdrawn[0], withdrawn[1:]
		return withdrawn
	}
	g.pods = staying
	return withdrawn
}

// withdraw makes a group due. If the policy chooses the location, it is the cleanest one now.
func (g *group) withdraw() {
	g.decision = g.decision.Withdraw()
	if g.location != "" {
		g.location = g.decision.Location
	}
}

// isWithdrawn reports whether held work does not ask to wait any more. Held work has asked before,
// so a missing annotation says no, too. Only a pod that somebody has put our gate on by hand never
// asked, and was promised nothing.
func isWithdrawn(o *record) bool {
	wish, isSet := policy.Wish(o)
	if !isSet && o.Kind == hold.PodKind().Kind && o.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		return false
	}
	return wish != "true"
}
