package gating

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// overdueAfter is how late a release may be before it counts as overdue.
const overdueAfter = time.Minute

// overdue is what is still held although its latest start has passed.
type overdue struct {
	pods  int
	since time.Time // the earliest latest start
	first *record   // what has been overdue for longest
}

// overdue counts what a pass could not release in time.
func (l *Loop) overdue(p *pass) overdue {
	var found overdue
	now := l.Clock.Now()
	for _, g := range p.groups { // by latest start
		if now.Sub(g.task.LatestStart) <= overdueAfter {
			break
		}
		if g.waitsForUser {
			continue // the user keeps it suspended
		}
		pods := l.stillHeldPods(g)
		if pods > 0 && found.first == nil {
			found.first, found.since = g.head(), g.task.LatestStart
		}
		found.pods += pods
	}
	return found
}

// stillHeldPods returns how many pods of a group are not released. A release that is being tried
// again does not count as one.
func (l *Loop) stillHeldPods(g *group) int {
	pods := 0
	if g.holdsJobItself() && hold.HoldsItself(g.owner.Annotations, g.owner.isSuspended) && (!l.inFlight.has(releaseID(g.owner)) || l.refusals.has(g.owner)) {
		pods = g.heldPods()
	}
	for _, pod := range g.pods {
		if !l.inFlight.has(pod.UID) || l.refusals.has(pod) {
			pods++
		}
	}
	return pods
}

// releasesFailingCondition returns the condition that says whether releases of what the policy
// holds fail.
func (l *Loop) releasesFailingCondition(p *pass, late overdue) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReleasesFailing, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonReleasing, Message: "due work is released",
	}
	var where []string
	message := ""
	for _, s := range l.health.failingNamespaces(p.now) {
		if s.name == "" || slices.ContainsFunc(p.groups, func(g *group) bool { return g.head().Namespace == s.name }) {
			where, message = append(where, s.String()), cmp.Or(message, l.refusals.message(s.name))
		}
	}
	switch {
	case len(where) > 0:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonNoneReleased
		c.Message = "new work is not held, because held work could not be released " + strings.Join(where, ", ")
	case late.pods > 0:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonOverdue
		c.Message = fmt.Sprintf("work that should have started by %s is still held, the first is %s %s/%s",
			plan.FormatTime(late.since), late.first.Kind, late.first.Namespace, late.first.Name)
		message = l.refusals.message(late.first.Namespace)
	}
	if message != "" {
		c.Message += ": " + message
	}
	c.Message = plan.Truncate(c.Message)
	return c
}
