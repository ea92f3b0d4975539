package ceiling

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// maxTurns bounds how many turns of the forecast and the schedules are looked at to tell when the
// ceiling changes next.
const maxTurns = 100

// reconcileScaler sets the ceiling that a scaler asks for.
func (c *Controller) reconcileScaler(ctx context.Context, r ref, t *target, s *carbonaware.CarbonAwareKedaScaler, now time.Time) (reconcile.Result, error) {
	c.Metrics.reconciled(s)
	rules := newEcoRules(&s.Spec, c.Options.EarlyCron, now)
	known := c.intensitiesOf(s, t, now)
	c.sources.Store(r, known.source)
	e := rules.at(now, known.course)
	turn := rules.turn(now, known.nextChange(now), known.course)
	rep := e.report(r, known.problem)
	rep.eco, rep.warnings = &e, rules.warnings
	if known.problem != nil && e.isKnown {
		rep.warnings = append(rep.warnings, shortened("the last good forecast is in use: "+known.problem.Error(), maxReasonBytes))
	}
	if t == nil {
		rep.reason, rep.message, rep.isSuccess = carbonaware.ReasonTargetNotFound, c.notFound(r), false
		return reconcile.Result{}, c.reportScaler(ctx, s, rep)
	}
	v := verdict{ceiling: &e.max, followsIntensity: e.offReason == "", isPending: known.isPending, reason: e.rule(s), until: turn}
	if e.isKnown {
		v.detail = fmt.Sprintf("%.0f gCO2eq/kWh at %s", e.intensity, plan.FormatTime(now))
	}
	o, err := c.enforce(ctx, t, nameOf(s), v, now)
	if known.isPending || o.isLost {
		return o.result(v, now), err
	}
	rep.next, rep.rule = rules.nextCeiling(e.max, turn, known), v.reason
	rep.add(r, o, err)
	if err != nil {
		c.Metrics.reconcileErrors.WithLabelValues(s.Name, s.Namespace).Inc()
	}
	c.Metrics.observe(s, &e, rep.max)
	c.announceScaler(s, known, &e, rep)
	return o.result(v, now), errors.Join(err, c.reportScaler(ctx, s, rep))
}

// rule says which rule of a scaler applies.
func (e *ecoState) rule(s *carbonaware.CarbonAwareKedaScaler) string {
	switch {
	case e.offReason != "":
		return "eco mode is off: " + e.offReason
	case e.bucket != "":
		return "the intensity is in the bucket " + e.bucket + " of " + nameOf(s)
	default:
		return "the only bucket of " + nameOf(s)
	}
}

// nextCeiling returns when the ceiling will be another one, by the forecast and the schedules, zero
// if that is not known.
func (r *ecoRules) nextCeiling(ceiling int32, turn time.Time, known intensities) time.Time {
	for range maxTurns {
		if turn.IsZero() || r.at(turn, known.course).max != ceiling {
			return turn
		}
		turn = r.turn(turn, known.nextChange(turn), known.course)
	}
	return time.Time{}
}

// notFound says that a target does not exist, in the operator's words.
func (c *Controller) notFound(r ref) string {
	what := fmt.Sprintf("unable to find %s: ", strings.ToLower(string(r.kind)))
	if r.kind == scaledJob {
		what = "unable to get scaledjob: "
	}
	if w := c.targets[r.kind]; w != nil && w.IsAbsent() {
		return what + "KEDA is not installed"
	}
	return what + r.String() + " does not exist"
}

// announceScaler announces on a scaler what the operator announced, when it changes.
func (c *Controller) announceScaler(s *carbonaware.CarbonAwareKedaScaler, known intensities, e *ecoState, rep report) {
	about := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID}}
	about.SetGroupVersionKind(carbonaware.GroupVersion().WithKind("CarbonAwareKedaScaler"))
	before := apimeta.FindStatusCondition(s.Status.Conditions, carbonaware.ConditionDegraded)
	if before == nil {
		source := "mock carbon forecast"
		if known.source != (forecast.Source{}) {
			source = "carbon forecast from configmap " + known.source.Name
		}
		c.Events.Announce(about, corev1.EventTypeNormal, "CarbonForecastSource", "ReadForecast", "Using "+source)
	}
	if before == nil || before.Reason != rep.reason {
		switch rep.reason {
		case carbonaware.ReasonCarbonDataFetchError:
			c.Events.Announce(about, corev1.EventTypeWarning, "CarbonIntensityForecastMissing", "ReadForecast", "Failed to fetch carbon forecast: "+known.problem.Error())
		case carbonaware.ReasonEcoModeDisabledError:
			c.Events.Announce(about, corev1.EventTypeWarning, "EcoModeConfigError", "ReadSchedules", "Failed to parse eco mode off configs: "+e.mistake.Error())
		case carbonaware.ReasonEcoModeDisabled:
			c.Events.Announce(about, corev1.EventTypeWarning, "EcoModeDisabled", "SetCeiling", "Eco mode disabled: "+e.offReason)
		}
	}
	if rep.max != nil && !ptr.Equal(rep.max, s.Status.MaxReplicas) {
		c.Events.Announce(about, corev1.EventTypeNormal, "MaxReplicaCountReconciled", "SetCeiling",
			fmt.Sprintf("Successfully set max replicas for %s to %d", s.Spec.KedaTargetRef.Name, *rep.max))
	}
}
