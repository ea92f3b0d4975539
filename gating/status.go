package gating

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// reportStatus writes the policy's status and metrics after a pass. It writes only what has
// changed.
func (l *Loop) reportStatus(ctx context.Context, p *pass) error {
	held := l.countHeld(p)
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
	object.Status.Held, object.Status.Audited = held, p.audited
	object.Status.NextRelease = policy.APITime(p.nextStart())
	object.Status.Locations = p.locationStatus()
	for _, condition := range append(p.conditions(), l.releasesFailingCondition(p, late)) {
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
	if c := disbelief(object.Status.Conditions); err == nil && c != nil && disbelief(before.Status.Conditions) == nil {
		l.Events.DisbelievedForecast(&object, c.Message)
	}
	return nil
}

// countHeld counts what a policy holds, for its status and the metrics.
func (l *Loop) countHeld(p *pass) (held v1alpha1.HeldStatus) {
	pods, groups, paused := map[plan.Cause]int{}, map[plan.Cause]int{}, 0
	for _, g := range p.groups {
		if g.isDue() {
			continue
		}
		if policy.IsPaused(g.head()) {
			paused++
		}
		groups[g.decision.Cause]++
		pods[g.decision.Cause] += g.heldPods()
		held.Groups++
		held.Pods = int32(min(int64(held.Pods)+int64(g.heldPods()), math.MaxInt32))
	}
	l.Metrics.setHeld(p.policy.Name, pods, groups)
	l.Metrics.paused.WithLabelValues(p.policy.Name).Set(float64(paused))
	return held
}

// locationStatus returns what is known of each location, and how much runs there.
func (p *pass) locationStatus() []v1alpha1.LocationStatus {
	locations := p.policy.LocationStatuses(p.snapshot, p.now)
	for i := range locations {
		if locations[i].Ceiling != nil {
			running := int32(min(p.pods(p.policy.ResolveLocation(locations[i].Name)), math.MaxInt32))
			locations[i].Running = &running
		}
	}
	return locations
}

// conditions returns the conditions Ready and ForecastUsable of the policy.
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

// planningState returns the state of the location that work is planned for: the first, or one with
// a usable forecast.
func (p *pass) planningState() policy.LocationState {
	states := p.policy.LocationStates(p.snapshot, p.now)
	state := states[0]
	for _, other := range states[1:] {
		if p.policy.ChoosesLocation() && !state.IsUsable() && p.policy.HasNodes(other.Name) {
			state = other
		}
	}
	return state
}

func (p *pass) forecastCondition() metav1.Condition {
	state := p.planningState()
	c := usability(&state, p.snapshot.Problem(), p.snapshot.Doubt() != "")
	if state.Details.Origin.IsMadeUp {
		c.Message = "the intensities are made up, for trying; " + c.Message
	}
	if note := p.snapshot.Note(); note != "" {
		c.Message += "; " + note
	}
	c.Message = plan.Truncate(c.Message)
	return c
}

// usability says whether work can be held at a location, and by what. isDoubted says that a part of
// the problem is that values are not believed.
func usability(state *policy.LocationState, problem string, isDoubted bool) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionForecastUsable, Status: metav1.ConditionTrue}
	switch {
	case state.LacksForecast():
		c.Status, c.Reason, c.Message = byHistory(state, problem)
	case state.IsUsable() && isDoubted:
		c.Message = "only a part of the forecast is believed, and that part is in use: " + problem
	case state.IsUsable() && state.Problem == "":
		c.Reason, c.Message = v1alpha1.ReasonCurrent, "the newest forecast is in use"
		if problem != "" {
			c.Message += "; about other locations: " + problem
		}
	case state.IsUsable():
		c.Reason, c.Message = v1alpha1.ReasonLastGood, "the last good forecast is in use: "+problem
	case !state.Issued.IsZero():
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonStale
		c.Message = state.Fallback() + ", because the last good forecast is not usable: " + state.Missing
		if problem != "" {
			c.Message += "; about the newest forecast: " + problem
		}
	default:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonMissing
		c.Message = state.Fallback() + ", because there is no forecast: " + state.Missing
	}
	if isDoubted {
		c.Reason = v1alpha1.ReasonNotBelieved
	}
	return c
}

// byHistory says whether work can be planned without a forecast.
func byHistory(state *policy.LocationState, problem string) (status metav1.ConditionStatus, reason, message string) {
	days, _ := state.Learned()
	status, reason = metav1.ConditionTrue, v1alpha1.ReasonByHistory
	how := "history"
	if state.Prediction.Basis == forecast.BasisWeather {
		how = "weather and history"
	}
	message = fmt.Sprintf("no forecast in this plan: work is planned by %s, %d of %d days are known", how, days, v1alpha1.DaysToLearn)
	if !state.IsByHistory() {
		status, reason = metav1.ConditionFalse, v1alpha1.ReasonMissing
		message = fmt.Sprintf("no forecast in this plan, and too little is known of the last days: work starts at once until the intensities of %d days are known; %s",
			int(forecast.MinHistory.Hours()/24), newest(state.ActualUntil))
	}
	if problem != "" {
		message += "; about the newest intensities: " + problem
	}
	return status, reason, message
}

// newest says until when the actual intensities are known.
func newest(until time.Time) string {
	if until.IsZero() {
		return "none is known yet"
	}
	return "the newest is of " + plan.FormatTime(until)
}

// disbelief returns the condition that says that the forecast is not, or not wholly, believed; nil
// if it is.
func disbelief(conditions []metav1.Condition) *metav1.Condition {
	c := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionForecastUsable)
	if c == nil || c.Reason != v1alpha1.ReasonNotBelieved {
		return nil
	}
	return c
}

// replaceStatus replaces a whole status. A merge patch of what has changed would leave out zeros of
// a new status, which the schema requires.
func replaceStatus(status v1alpha1.CarbonPolicyStatus) client.Patch {
	data, _ := json.Marshal([]map[string]any{{"op": "add", "path": "/status", "value": status}}) // of plain fields: no error is possible
	return client.RawPatch(types.JSONPatchType, data)
}
