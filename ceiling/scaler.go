package ceiling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// stepsAhead bounds how many turns of the forecast and the schedules are looked
// at to tell when the ceiling changes next.
const stepsAhead = 100

// report is what a scaler's status says.
type report struct {
	reason, message string
	succeeded       bool
	why             string // the message, if it is empty
	eco             *eco
	max, original   *int32
	next            time.Time
	warnings        []string
}

// courseKey names the forecast of one location.
type courseKey struct {
	source   forecast.Source
	location string
}

// past is what has been seen of a forecast.
type past struct{ newest, whole *forecast.Series }

// sourceOf names the forecast of a scaler in a forecast.Store; it is zero if
// that is the mock forecast. The error says what is wrong with its name.
func sourceOf(s *carbonaware.CarbonAwareKedaScaler) (forecast.Source, error) {
	from := s.Spec.CarbonIntensityForecastDataSource
	key, none := from.LocalConfigMap, forecast.Source{}
	switch {
	case from.MockCarbonForecast:
		return none, nil
	case key == nil:
		return none, errors.New("neither mockCarbonForecast nor localConfigMap is given")
	case len(validation.IsDNS1123Label(key.Namespace)) > 0:
		return none, fmt.Errorf("localConfigMap.namespace: %.80q: want the name of a namespace", key.Namespace)
	case len(validation.IsDNS1123Subdomain(key.Name)) > 0:
		return none, fmt.Errorf("localConfigMap.name: %.80q: want the name of a ConfigMap", key.Name)
	case len(validation.IsConfigMapKey(key.Key)) > 0:
		return none, fmt.Errorf("localConfigMap.key: %.80q: want a key of the ConfigMap", key.Key)
	}
	return forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key}, nil
}

// outlook is what a scaler knows of the intensity.
type outlook struct {
	course
	next    func(time.Time) time.Time // when the intensity changes; zero if it does not
	source  forecast.Source
	problem error
	pending bool
}

// outlook returns what a scaler knows of the intensity.
func (c *Controller) outlook(s *carbonaware.CarbonAwareKedaScaler, t *target, now time.Time) outlook {
	source, err := sourceOf(s)
	if err == nil && source == (forecast.Source{}) {
		return outlook{course: mock, next: func(at time.Time) time.Time { return at.Truncate(mockSlot).Add(mockSlot) }}
	}
	o := outlook{
		course: func(time.Time) (float64, bool) { return 0, false },
		next:   func(time.Time) time.Time { return time.Time{} },
		source: source, problem: err,
	}
	if err != nil {
		return o
	}
	book := c.Store.Snapshot(source)
	if why := c.left(source); why != "" && !book.IsKnown() {
		o.problem = errors.New(why)
		return o
	}
	if problem := book.Problem(); problem != "" {
		o.problem = errors.New(problem)
	}
	f, ok := book.Forecast(s.Annotations[v1alpha1.LocationAnnotation])
	if !ok {
		if locations := book.Locations(); len(locations) > 0 {
			o.problem = fmt.Errorf("want the annotation %s with a location of the forecast: %s", v1alpha1.LocationAnnotation, strings.Join(locations, ", "))
		}
		o.pending = c.early(source, t, now)
		return o
	}
	series := c.remember(courseKey{source, f.Location}, f.Series, now)
	o.course = func(at time.Time) (float64, bool) {
		if intensity, known := series.At(at); known || at.Before(now) {
			return intensity, known
		}
		return f.Near(at)
	}
	o.next = func(at time.Time) time.Time {
		boundary, _ := series.NextBoundary(at) // zero if there is none
		return boundary
	}
	return o
}

// remember returns a series with what was seen before it: rules on a time of
// high intensity look back further than a forecast does.
func (c *Controller) remember(key courseKey, newest *forecast.Series, now time.Time) *forecast.Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.past == nil {
		c.past = map[courseKey]past{}
	}
	held := c.past[key]
	if held.newest != newest {
		held = past{newest, held.whole.Splice(newest, now.Add(-lookback))}
		c.past[key] = held
	}
	return held.whole
}

// reconcileScaler makes what a scaler asks for hold for its target.
func (c *Controller) reconcileScaler(ctx context.Context, r ref, t *target, s *carbonaware.CarbonAwareKedaScaler, now time.Time) (reconcile.Result, error) {
	c.Metrics.reconciled(s)
	rules := newEcoRules(&s.Spec, c.Options.EarlyCron, now)
	o := c.outlook(s, t, now)
	c.sources.Store(r, o.source)
	e := rules.at(now, o.course)
	turn := rules.turn(now, o.next(now), o.course)
	rep := e.report(r, o.problem)
	rep.eco, rep.warnings = &e, rules.warnings
	if o.problem != nil && e.known {
		rep.warnings = append(rep.warnings, shortened("the last good forecast is in use: "+o.problem.Error(), maxReason))
	}
	if t == nil {
		rep.reason, rep.message, rep.succeeded = carbonaware.ReasonTargetNotFound, c.notFound(r), false
		return reconcile.Result{}, c.reportScaler(ctx, s, rep)
	}
	v := verdict{limit: &e.max, damped: e.off == "", pending: o.pending, why: e.why(s), until: turn}
	if e.known {
		v.detail = fmt.Sprintf("%.0f gCO2eq/kWh at %s", e.intensity, plan.FormatTime(now))
	}
	d, err := c.enforce(ctx, t, nameOf(s), v, now)
	if o.pending || d.lost {
		return d.result(v, now), err
	}
	rep.next, rep.why = rules.change(e.max, turn, o), v.why
	rep.settled(r, d, err)
	if err != nil {
		c.Metrics.reconcileErrors.WithLabelValues(s.Name, s.Namespace).Inc()
	}
	c.Metrics.observe(s, &e, rep.max)
	c.heraldScaler(s, o, &e, rep)
	return d.result(v, now), errors.Join(err, c.reportScaler(ctx, s, rep))
}

// settled says what has come of it.
func (rep *report) settled(r ref, d *done, err error) {
	rep.original, rep.max = d.change.original, d.change.ceiling
	if !d.change.held.IsZero() {
		rep.why = "the ceiling was lowered not long ago, and is lowered again at " + plan.FormatTime(d.change.held) + ": " + rep.why
	}
	switch {
	case err != nil:
		rep.reason, rep.message, rep.succeeded = carbonaware.ReasonTargetUpdateFailed, "failed to update "+strings.ToLower(string(r.kind))+": "+err.Error(), false
	case d.reverted:
		rep.reason, rep.message, rep.succeeded = carbonaware.ReasonTargetReverted, d.waits, false
	case d.waits != "":
		rep.reason, rep.message, rep.succeeded = carbonaware.ReasonWaitingForJobs, d.waits, false
	default:
		return
	}
	rep.max, rep.why = nil, ""
}

// report is the condition that a judgement gives.
func (e *eco) report(r ref, problem error) report {
	switch {
	case !e.known && problem != nil:
		return report{reason: carbonaware.ReasonCarbonDataFetchError, message: "failed to fetch carbon forecast: " + problem.Error()}
	case e.wrong != nil:
		return report{reason: carbonaware.ReasonEcoModeDisabledError, message: "unable to parse eco mode off configs: " + e.wrong.Error()}
	case e.off != "":
		return report{reason: carbonaware.ReasonEcoModeDisabled, message: "operator successfully reconciling but eco mode is disabled"}
	case r.kind == scaledJob:
		return report{succeeded: true, reason: carbonaware.ReasonSucceeded, message: "operator successfully reconciling"}
	default:
		return report{succeeded: true, reason: carbonaware.ReasonSucceeded, message: "operator successfully reconciling and eco mode is enabled"}
	}
}

// why says which rule holds.
func (e *eco) why(s *carbonaware.CarbonAwareKedaScaler) string {
	switch {
	case e.off != "":
		return "eco mode is off: " + e.off
	case e.bucket != "":
		return "the intensity is in the bucket " + e.bucket + " of " + nameOf(s)
	default:
		return "the one bucket of " + nameOf(s)
	}
}

// change returns when the ceiling will be another, by the forecast and the
// schedules; zero if that is not known.
func (r *ecoRules) change(now int32, turn time.Time, o outlook) time.Time {
	for range stepsAhead {
		if turn.IsZero() || r.at(turn, o.course).max != now {
			return turn
		}
		turn = r.turn(turn, o.next(turn), o.course)
	}
	return time.Time{}
}

func (c *Controller) notFound(r ref) string {
	what := fmt.Sprintf("unable to find %s: ", strings.ToLower(string(r.kind)))
	if r.kind == scaledJob {
		what = "unable to get scaledjob: "
	}
	if w := c.targets[r.kind]; w != nil && w.missing() {
		return what + "KEDA is not installed"
	}
	return what + r.String() + " does not exist"
}

// reportScaler writes the status, if it is another.
func (c *Controller) reportScaler(ctx context.Context, s *carbonaware.CarbonAwareKedaScaler, rep report) error {
	rep.message, rep.why = shortened(rep.message, maxReason), shortened(rep.why, maxReason)
	status := s.Status.DeepCopy()
	status.ObservedGeneration = s.Generation
	status.Intensity, status.Bucket, status.Reason = nil, "", rep.message
	if rep.why != "" {
		status.Reason = rep.why
	}
	status.MaxReplicas, status.OriginalMaxReplicas, status.NextChange = rep.max, rep.original, nil
	status.Warnings = rep.warnings
	if e := rep.eco; e != nil {
		status.Bucket = e.bucket
		if e.known {
			status.Intensity = ptr.To(int32(math.Round(e.intensity)))
		}
	}
	if !rep.next.IsZero() {
		status.NextChange = ptr.To(metav1.NewTime(rep.next.UTC().Truncate(time.Second)).Rfc3339Copy())
	}
	condition := metav1.Condition{
		Type: carbonaware.ConditionDegraded, Status: metav1.ConditionTrue, Reason: rep.reason,
		Message: rep.message, ObservedGeneration: s.Generation,
	}
	if rep.succeeded {
		condition.Status = metav1.ConditionFalse
	}
	apimeta.SetStatusCondition(&status.Conditions, condition)
	if equality.Semantic.DeepEqual(&s.Status, status) {
		return nil
	}
	data, _ := json.Marshal([]map[string]any{ // of plain fields: no error is possible
		{"op": "add", "path": "/status", "value": status},
	})
	object := &carbonaware.CarbonAwareKedaScaler{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	err := c.Client.Status().Patch(ctx, object, client.RawPatch(types.JSONPatchType, data), client.FieldOwner(Manager))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("patch status of %s: %w", nameOf(s), err)
	}
	return nil
}

// heraldScaler announces on a scaler what the operator did, when it changes.
func (c *Controller) heraldScaler(s *carbonaware.CarbonAwareKedaScaler, o outlook, e *eco, rep report) {
	about := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID}}
	about.SetGroupVersionKind(carbonaware.GroupVersion().WithKind("CarbonAwareKedaScaler"))
	before := apimeta.FindStatusCondition(s.Status.Conditions, carbonaware.ConditionDegraded)
	if before == nil {
		source := "mock carbon forecast"
		if o.source != (forecast.Source{}) {
			source = "carbon forecast from configmap " + s.Spec.CarbonIntensityForecastDataSource.LocalConfigMap.Name
		}
		c.Events.Announce(about, corev1.EventTypeNormal, "CarbonForecastSource", "ReadForecast", "Using "+source)
	}
	if before == nil || before.Reason != rep.reason {
		switch rep.reason {
		case carbonaware.ReasonCarbonDataFetchError:
			c.Events.Announce(about, corev1.EventTypeWarning, "CarbonIntensityForecastMissing", "ReadForecast", "Failed to fetch carbon forecast: "+o.problem.Error())
		case carbonaware.ReasonEcoModeDisabledError:
			c.Events.Announce(about, corev1.EventTypeWarning, "EcoModeConfigError", "ReadSchedules", "Failed to parse eco mode off configs: "+e.wrong.Error())
		case carbonaware.ReasonEcoModeDisabled:
			c.Events.Announce(about, corev1.EventTypeWarning, "EcoModeDisabled", "SetCeiling", "Eco mode disabled: "+e.off)
		}
	}
	if rep.max != nil && !ptr.Equal(rep.max, s.Status.MaxReplicas) {
		c.Events.Announce(about, corev1.EventTypeNormal, "MaxReplicaCountReconciled", "SetCeiling",
			fmt.Sprintf("Successfully set max replicas for %s to %d", s.Spec.KedaTargetRef.Name, *rep.max))
	}
}
