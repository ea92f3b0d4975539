package gating

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Wish returns what an object says of waiting: its annotation DelayTolerant or,
// where there is none, its label of that key; false if it has neither.
func Wish(o metav1.Object) (value string, said bool) {
	if value, said = o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]; !said {
		value, said = o.GetLabels()[v1alpha1.DelayTolerantAnnotation]
	}
	return value, said
}

// Asked returns what an object asks for, as annotations: the wish to wait is among
// them where it is a label.
func Asked(o metav1.Object) map[string]string {
	asks := map[string]string{}
	for _, key := range asked() {
		if value, ok := o.GetAnnotations()[key]; ok {
			asks[key] = value
		}
	}
	if wish, ok := Wish(o); ok {
		asks[v1alpha1.DelayTolerantAnnotation] = wish
	}
	return asks
}

// withdraws reports whether held work does not ask to wait any more. What is held
// has asked, so that an annotation which is gone is its user's word, too. Only a pod
// that somebody has put our gate on by hand never asked, and was promised nothing.
func withdraws(o *record) bool {
	wish, said := Wish(o)
	if !said && o.Kind == podKind().Kind && o.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		return false
	}
	return wish != "true"
}

// heed makes due what does not ask to wait any more. A Job speaks for its pods; of
// the pods of other owners, each speaks for itself.
func (p *pass) heed() {
	all := p.groups
	p.groups = make([]*group, 0, len(all))
	for _, g := range all {
		p.groups = append(p.groups, g)
		switch {
		case g.released:
		case g.job != nil:
			if withdraws(g.job) {
				g.withdraw()
			}
		default:
			p.groups = append(p.groups, g.part()...)
		}
	}
}

// part takes out of a group without a Job the pods that do not ask to wait any
// more, as groups of their own. A group of which nothing would be left is withdrawn
// whole.
func (g *group) part() (apart []*group) {
	var stay []*record
	for _, pod := range g.pods {
		if !withdraws(pod) {
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
	if g.to != "" {
		g.to = g.decision.Location
	}
}
