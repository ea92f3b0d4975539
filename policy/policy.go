package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Policy is a CarbonPolicy made ready for planning. Webhook and loop decide
// through it, and so give the same answer.
type Policy struct {
	Name string
	// Exists is false for the built-in default.
	Exists bool
	// Source names the forecast in a forecast.Store.
	Source forecast.Source
	// Problems are parts of the spec that cannot be used; the rest holds.
	Problems []string
	// Warnings are of parts of the spec that hold, and are probably not meant.
	Warnings []string

	gone  bool // it stands for those that do not exist
	spec  v1alpha1.CarbonPolicySpec
	terms plan.Terms
	// The durations of the spec.
	maxDelay, defaultDuration, maxAge time.Duration
	buckets                           plan.Buckets
	// Of a policy that chooses between locations: those with nodes, its first if
	// none is known to have any; in its order.
	places []plan.Site
	nodes  *Nodes
}

// Get returns a policy by name, the default one for an empty name. The default
// always exists; any other that does not is a NotFound error.
func (p Policies) Get(ctx context.Context, name string) (*Policy, error) {
	if name == "" {
		name = v1alpha1.DefaultPolicy
	}
	var object v1alpha1.CarbonPolicy
	err := p.Reader.Get(ctx, client.ObjectKey{Name: name}, &object)
	switch {
	case err == nil:
		return New(ctx, &object, p.Nodes, p.Clock.Now()), nil
	case apierrors.IsNotFound(err) && name == v1alpha1.DefaultPolicy:
		policy := New(ctx, v1alpha1.Default(), p.Nodes, p.Clock.Now())
		policy.Exists = false
		return policy, nil
	default:
		return nil, fmt.Errorf("get CarbonPolicy %s: %w", name, err)
	}
}

// List returns all policies, the default one among them.
func (p Policies) List(ctx context.Context) ([]*Policy, error) {
	var objects v1alpha1.CarbonPolicyList
	if err := p.Reader.List(ctx, &objects); err != nil {
		return nil, fmt.Errorf("list CarbonPolicies: %w", err)
	}
	builtin, err := p.Get(ctx, v1alpha1.DefaultPolicy)
	if err != nil {
		return nil, err
	}
	policies := []*Policy{builtin}
	for i := range objects.Items {
		if objects.Items[i].Name != v1alpha1.DefaultPolicy {
			policies = append(policies, New(ctx, &objects.Items[i], p.Nodes, p.Clock.Now()))
		}
	}
	return policies, nil
}

// New returns the policy of an object at now, with the nodes at its locations. Without nodes, a
// policy with several locations plans work for the first one.
func New(ctx context.Context, object *v1alpha1.CarbonPolicy, nodes *Nodes, now time.Time) *Policy {
	key := object.Spec.Forecast.ConfigMap
	p := &Policy{
		Name: object.Name, Exists: true, spec: object.Spec,
		Source: forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key},
	}
	p.readNumbers()
	for i, l := range object.Spec.Locations {
		if err := checkSelector(l.NodeSelector); err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.locations[%d].nodeSelector%v", i, err))
		}
		if before := p.shadowing(i); before != "" {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.locations[%d].nodeSelector: no node is at %q, since all with these labels are at %q, which comes before it", i, l.Name, before))
		}
	}
	for i, e := range object.Spec.Exemptions {
		exemption, err := newExemption(e, now)
		if err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.exemptions[%d]: %v", i, err))
			continue
		}
		if warning := exemption.Warning(); warning != "" {
			p.Warnings = append(p.Warnings, fmt.Sprintf("spec.exemptions[%d]: schedule %.80q: %s", i, e.Schedule, warning))
		}
		p.terms.Exemptions = append(p.terms.Exemptions, exemption)
	}
	p.settle(ctx, nodes)
	return p
}

// readNumbers reads durations, percentages and buckets of the spec. In place of what
// cannot be read, the default holds.
func (p *Policy) readNumbers() {
	spec, builtIn := p.spec, v1alpha1.Default().Spec
	p.maxDelay = read(p, "maxDelay", spec.MaxDelay, builtIn.MaxDelay, parseDelay)
	p.defaultDuration = read(p, "defaultDuration", spec.DefaultDuration, builtIn.DefaultDuration, parseDuration)
	p.maxAge = read(p, "forecast.maxAge", spec.Forecast.MaxAge, builtIn.Forecast.MaxAge, parseDuration)
	p.terms.MinGain = read(p, "minGainPercent", spec.MinGainPercent, builtIn.MinGainPercent, parsePercentage)
	p.terms.WaitPrice = read(p, "waitPricePercentPerHour", spec.WaitPricePercentPerHour, builtIn.WaitPricePercentPerHour, parsePercentage)
	var err error
	if p.buckets, err = newBuckets(spec.Buckets); err != nil {
		p.Problems = append(p.Problems, fmt.Sprintf("spec.%v", err))
	}
}

// read reads a field of the spec of a policy. The schema admits little that parse does
// not read.
func read[Text ~string, Value any](p *Policy, field string, text, builtIn Text, parse func(Text) (Value, error)) Value {
	value, err := parse(text)
	if err == nil {
		return value
	}
	if text != "" { // where there is no schema, a field that is left out has no default
		p.Problems = append(p.Problems, fmt.Sprintf("spec.%s: %.40q: %v", field, text, err))
	}
	value, _ = parse(builtIn) // a constant, which can be read
	return value
}

func parseDuration(text v1alpha1.Duration) (time.Duration, error) {
	return plan.ParseDuration(string(text))
}

// parseDelay reads a duration that may be zero, in each form that the schema admits.
func parseDelay(text v1alpha1.Duration) (time.Duration, error) {
	if strings.Contains(string(text), "0") && strings.Trim(string(text), "0.wdhmsPWDTHMS") == "" {
		return 0, nil
	}
	return parseDuration(text)
}

// parsePercentage returns a share.
func parsePercentage(text v1alpha1.Percentage) (float64, error) {
	percent, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, errors.New("want a percentage from 0 to 100, such as 0.5")
	}
	return percent / 100, nil
}

// IsAbandoned reports whether the policy stands for those that do not exist.
func (p *Policy) IsAbandoned() bool { return p.gone }

func newExemption(e v1alpha1.Exemption, now time.Time) (plan.Exemption, error) {
	if e.Schedule != "" {
		return newSchedule(e.Schedule, cmp.Or(e.TimeZone, "UTC"), now)
	}
	if e.From == nil || e.To == nil {
		return plan.Exemption{}, sentence("want either schedule, or from and to")
	}
	return plan.NewExemption(e.From.Time, e.To.Time)
}

func newSchedule(schedule, timeZone string, now time.Time) (plan.Exemption, error) {
	zone, err := plan.ParseZone(timeZone)
	if err != nil {
		return plan.Exemption{}, fmt.Errorf("timeZone: %w", err)
	}
	exemption, err := plan.ParseCronExemption(schedule, now)
	if err != nil {
		return exemption, fmt.Errorf("schedule %q: %w", schedule, err)
	}
	return exemption.InZone(zone), nil
}

// checkSelector tells what is wrong with labels that no node can have. The schema
// does not check the characters of their values.
func checkSelector(selector map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		if problems := append(content.IsLabelKey(key), content.IsLabelValue(selector[key])...); len(problems) > 0 {
			return fmt.Errorf("[%s]: %q: %s", key, selector[key], strings.Join(problems, "; "))
		}
	}
	return nil
}

// shadowing returns the location that has all nodes of a later one; empty if none
// has.
func (p *Policy) shadowing(later int) string {
	for _, l := range p.spec.Locations[:later] {
		if len(l.NodeSelector) > 0 && hasAll(p.spec.Locations[later].NodeSelector, l.NodeSelector) {
			return l.Name
		}
	}
	return ""
}

func newBuckets(spec []v1alpha1.Bucket) (plan.Buckets, error) {
	buckets := make([]plan.Bucket, len(spec))
	for i, b := range spec {
		buckets[i] = plan.Bucket{UpTo: math.Inf(1), Ceiling: int(b.Ceiling)}
		if b.UpTo != nil {
			buckets[i].UpTo = float64(*b.UpTo)
		}
	}
	return plan.NewBuckets(buckets)
}

// Limited reports whether ceilings limit how many pods run at once.
func (p *Policy) Limited() bool { return !p.buckets.IsEmpty() }

// prediction returns what is expected of a location, with the forecast that it
// rests on; or in missing why nothing is that could hold work.
func (p *Policy) prediction(book *forecast.Snapshot, location string, now time.Time) (e forecast.Prediction, f forecast.Forecast, missing string) {
	f, ok := book.Forecast(location)
	if !ok || p.gone {
		return forecast.Prediction{Basis: forecast.BasisNothing}, f, p.missing(book, location, now)
	}
	return f.Model.Predict(now, p.maxAge), f, p.missing(book, location, now)
}

// Planner prepares decisions at now for work at a location, the policy's first
// if it is empty, that starts by until at the latest.
func (p *Policy) Planner(book *forecast.Snapshot, location string, now, until time.Time) *plan.Planner {
	location = p.ResolveLocation(location)
	e, f, missing := p.prediction(book, location, now)
	if location == "" {
		location = f.Location
	}
	return plan.NewPlanner(location, e.Series, missing, p.terms, now, until).WithBasis(e.Basis)
}

// Predict returns what is expected of a location, the policy's first if it is
// empty, and the forecast that this rests on.
func (p *Policy) Predict(book *forecast.Snapshot, location string, now time.Time) (forecast.Prediction, forecast.Forecast) {
	e, f, _ := p.prediction(book, p.ResolveLocation(location), now)
	return e, f
}

// Level tells what holds at a location, the policy's first if it is empty, and
// the limits there are. A forecast that is not trusted any more is no intensity;
// where one that is trusted says nothing, or is not believed, its neighbours hold.
func (p *Policy) Level(book *forecast.Snapshot, location string, now time.Time) plan.Level {
	v := p.locationState(book, p.ResolveLocation(location), now)
	level := plan.Level{Location: v.Name, Buckets: p.buckets, UnknownReason: v.Missing, Expected: v.Prediction.Series}
	switch v.Prediction.Basis {
	case forecast.BasisNothing:
	case forecast.BasisForecast:
		level.Intensity, level.IsKnown = v.Intensity, v.IsKnown
	default:
		level.Intensity, level.IsKnown = v.Prediction.Series.At(now)
	}
	if f, _ := book.Forecast(p.ResolveLocation(location)); !level.IsKnown && !p.gone && now.Sub(f.Issued) <= p.maxAge {
		level.Intensity, level.IsKnown = f.Near(now)
	}
	level.ValidUntil, level.IsExempt = plan.NextExemptionChange(p.terms.Exemptions, now)
	for _, at := range p.Changes(book, now) {
		if at.After(now) && (level.ValidUntil.IsZero() || at.Before(level.ValidUntil)) {
			level.ValidUntil = at
		}
	}
	return level
}

// Contributions explains what [Policy.Predict] expects of the hour of at.
func (p *Policy) Contributions(book *forecast.Snapshot, location string, now, at time.Time) []forecast.Contribution {
	f, ok := book.Forecast(p.ResolveLocation(location))
	if !ok {
		return nil
	}
	return f.Model.Contributions(now, at, p.maxAge)
}

// location returns the one asked for or the policy's first; empty is the only
// one of the forecast.
func (p *Policy) ResolveLocation(asked string) string {
	if asked == "" && len(p.spec.Locations) > 0 {
		return p.spec.Locations[0].Name
	}
	return asked
}

// missing says why the forecast for a location is not usable now, or does not
// cover some of the time to come.
func (p *Policy) missing(book *forecast.Snapshot, location string, now time.Time) string {
	switch f, _ := book.Forecast(location); {
	case p.gone:
		return "its policy does not exist"
	case f.Series.IsEmpty():
		return p.absent(book, location)
	case now.Sub(f.Issued) > p.maxAge:
		return fmt.Sprintf("that of %s is older than %s", plan.FormatTime(f.Issued), plan.FormatDuration(p.maxAge))
	case !f.Series.End().After(now):
		return fmt.Sprintf("that of %s ended at %s", plan.FormatTime(f.Issued), plan.FormatTime(f.Series.End()))
	default:
		return fmt.Sprintf("that of %s does not cover the time from %s on", plan.FormatTime(f.Issued), plan.FormatTime(now))
	}
}

// absent says why there is no forecast for a location.
func (p *Policy) absent(book *forecast.Snapshot, location string) string {
	switch {
	case !book.HasForecast() && book.Problem() != "":
		return book.Problem()
	case !book.HasForecast():
		return "ConfigMap " + p.Source.String() + " has not been read yet"
	case location == "":
		return "it has several locations, and the policy names none: " + strings.Join(book.Locations(), ", ")
	default:
		return fmt.Sprintf("it has no location %s, but %s", location, strings.Join(book.Locations(), ", "))
	}
}

// CheckLocation tells what is wrong with a location that work is pinned to.
func (p *Policy) CheckLocation(book *forecast.Snapshot, location string) error {
	var known []string
	for _, l := range p.spec.Locations {
		known = append(known, l.Name)
	}
	if len(known) == 0 {
		if _, ok := book.Forecast(location); ok || len(book.Locations()) == 0 {
			return nil
		}
		known = book.Locations()
	}
	for _, name := range known {
		if name == location {
			return nil
		}
	}
	return fmt.Errorf("want a location of policy %s: %s", p.Name, strings.Join(known, ", "))
}
