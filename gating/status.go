package gating

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// report says on the policy's status, and in the metrics, how a pass has left
// things. It writes only what has changed.
func (l *Loop) report(ctx context.Context, p *pass) error {
	var held v1alpha1.HeldStatus
	pods, groups := map[plan.Cause]int{}, map[plan.Cause]int{}
	for _, g := range p.groups {
		if g.due() {
			continue
		}
		groups[g.decision.Cause]++
		pods[g.decision.Cause] += g.size()
		held.Groups++
		held.Pods = int32(min(int64(held.Pods)+int64(g.size()), math.MaxInt32))
	}
	l.Metrics.holds(p.policy.Name, pods, groups)
	late := l.overdue(p)
	l.Metrics.overdue.WithLabelValues(p.policy.Name).Set(float64(late.pods))
	if !p.policy.Exists {
		return nil
	}
	var object v1alpha1.CarbonPolicy
	if err := l.Client.Get(ctx, client.ObjectKey{Name: p.policy.Name}, &object); err != nil {
		return client.IgnoreNotFound(err)
	}
	before := object.DeepCopy()
	object.Status.Held = held
	object.Status.NextRelease = second(p.next())
	object.Status.Locations = p.locationStatus()
	for _, condition := range append(p.conditions(), l.releasesFailing(p, late)) {
		condition.ObservedGeneration = object.Generation
		apimeta.SetStatusCondition(&object.Status.Conditions, condition)
	}
	if equality.Semantic.DeepEqual(before.Status, object.Status) {
		return nil
	}
	err := l.Client.Status().Patch(ctx, &object, replaceStatus(object.Status))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patch status of CarbonPolicy %s: %w", object.Name, err)
	}
	if c := doubted(object.Status.Conditions); err == nil && c != nil && doubted(before.Status.Conditions) == nil {
		l.Events.Doubted(&object, c.Message)
	}
	return nil
}

// locationStatus is what is known of each location, and how much runs there.
func (p *pass) locationStatus() []v1alpha1.LocationStatus {
	locations := p.policy.Locations(p.book, p.now)
	for i := range locations {
		if locations[i].Ceiling != nil {
			running := int32(min(p.pods(p.policy.location(locations[i].Name)), math.MaxInt32))
			locations[i].Running = &running
		}
	}
	return locations
}

// Locations says what is known of each location at a moment, as the policy's
// status does, but for what runs there.
func (p *Policy) Locations(book *forecast.Snapshot, now time.Time) []v1alpha1.LocationStatus {
	views := p.views(book, now)
	locations := make([]v1alpha1.LocationStatus, len(views))
	for i, v := range views {
		locations[i].Name = v.name
		locations[i].LearnedDays, locations[i].SavingSharePercent = v.learned()
		if v.known {
			rounded := int32(math.Round(v.intensity))
			locations[i].Intensity = &rounded
		}
		if v.known && p.Limited() {
			ceiling := int32(p.buckets.Ceiling(v.intensity))
			locations[i].Bucket, locations[i].Ceiling = p.buckets.Name(v.intensity), &ceiling
		}
		if !v.issued.IsZero() {
			locations[i].ForecastIssued, locations[i].ForecastUntil = second(v.issued), second(v.until)
		}
	}
	return locations
}

// conditions returns what the policy's conditions should be.
func (p *pass) conditions() []metav1.Condition {
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonValid,
		Message: plan.Truncate(strings.Join(append([]string{"the whole spec is in use"}, p.policy.Warnings...), "; ")),
	}
	if len(p.policy.Problems) > 0 {
		ready.Status, ready.Reason = metav1.ConditionFalse, v1alpha1.ReasonInvalid
		ready.Message = plan.Truncate(strings.Join(p.policy.Problems, "; "))
	}
	return []metav1.Condition{ready, p.forecastCondition()}
}

// planningView returns the view of the location that work is planned for: the first, or one
// of which something is known.
func (p *pass) planningView() view {
	views := p.policy.views(p.book, p.now)
	v := views[0]
	for _, other := range views[1:] {
		if p.policy.Movable() && !v.usable() && p.policy.populated(other.name) {
			v = other
		}
	}
	return v
}

func (p *pass) forecastCondition() metav1.Condition {
	v := p.planningView()
	c := metav1.Condition{Type: v1alpha1.ConditionForecastUsable, Status: metav1.ConditionTrue}
	problem := p.book.Problem()
	switch {
	case v.usable() && p.book.Doubt() != "":
		c.Message = "the forecast is in use as far as it is believed: " + problem
	case v.usable() && problem == "":
		c.Reason, c.Message = v1alpha1.ReasonCurrent, "the newest forecast is in use"
	case v.usable():
		c.Reason, c.Message = v1alpha1.ReasonLastGood, "the last good forecast is in use: "+problem
	case !v.issued.IsZero():
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonStale
		c.Message = v.instead() + ", the last good forecast is not usable: " + v.missing
		if problem != "" {
			c.Message += "; the newest: " + problem
		}
	default:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonMissing
		c.Message = v.instead() + ", there is no forecast: " + v.missing
	}
	if p.book.Doubt() != "" {
		c.Reason = v1alpha1.ReasonNotBelieved
	}
	c.Message = plan.Truncate(c.Message)
	return c
}

// doubted returns the condition that says that the forecast is not, or not
// wholly, believed; nil if it is.
func doubted(conditions []metav1.Condition) *metav1.Condition {
	c := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionForecastUsable)
	if c == nil || c.Reason != v1alpha1.ReasonNotBelieved {
		return nil
	}
	return c
}

// instead says what happens without a usable forecast.
func (v *view) instead() string {
	if v.expected.Basis == forecast.BasisHistory {
		return "work is planned by what the last weeks were like"
	}
	return "work starts at once"
}

// turns are the moments at which what a policy says of the grid changes by
// itself: a slot or an hour ends, or a forecast becomes too old.
func (p *Policy) turns(book *forecast.Snapshot, now time.Time) []time.Time {
	turns := []time.Time{now.Truncate(time.Hour).Add(time.Hour)}
	for _, v := range p.views(book, now) {
		f, ok := book.Forecast(v.name)
		if !ok {
			continue
		}
		turns = append(turns, f.Issued.Add(p.maxAge).Add(time.Millisecond))
		if boundary, ok := f.Series.NextBoundary(now); ok {
			turns = append(turns, boundary)
		}
	}
	return turns
}

// second cuts an instant to what the API stores, so that it compares equal to
// what is read back. The zero time is none.
func second(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	cut := metav1.NewTime(t.UTC().Truncate(time.Second)).Rfc3339Copy()
	return &cut
}
