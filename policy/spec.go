package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// readNumbers reads the durations, percentages and buckets of the spec. A field that cannot be read
// has its default value.
func (p *Policy) readNumbers() {
	spec, builtIn := p.spec, v1alpha1.Default().Spec
	p.maxDelay = readField(p, "maxDelay", spec.MaxDelay, builtIn.MaxDelay, parseDelay)
	p.defaultDuration = readField(p, "defaultDuration", spec.DefaultDuration, builtIn.DefaultDuration, parseDuration)
	p.restartCost = readField(p, "restartCost", spec.RestartCost, builtIn.RestartCost, parseDelay)
	p.minRun = readField(p, "minRun", spec.MinRun, builtIn.MinRun, parseDelay)
	p.maxAge = readField(p, "forecast.maxAge", spec.Forecast.MaxAge, builtIn.Forecast.MaxAge, parseDuration)
	p.terms.MinGain = readField(p, "minGainPercent", spec.MinGainPercent, builtIn.MinGainPercent, parsePercentage)
	p.terms.Caution = readField(p, "holdCaution", spec.HoldCaution, builtIn.HoldCaution, parseCaution)
	p.terms.WaitPrice = readField(p, "waitPricePercentPerHour", spec.WaitPricePercentPerHour, builtIn.WaitPricePercentPerHour, parsePercentage)
	var err error
	if p.buckets, err = newBuckets(spec.Buckets); err != nil {
		p.Problems = append(p.Problems, fmt.Sprintf("spec.%v", err))
	}
}

// readField reads one field of the spec of a policy. Problems names a field that parse cannot read. The
// schema admits few such values.
func readField[Text ~string, Value any](p *Policy, field string, text, builtIn Text, parse func(Text) (Value, error)) Value {
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

// parsePercentage reads a percentage and returns the share.
func parsePercentage(text v1alpha1.Percentage) (float64, error) {
	percent, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, errors.New("want a percentage from 0 to 100, such as 0.5")
	}
	return percent / 100, nil
}

func parseCaution(text v1alpha1.Caution) (float64, error) {
	caution, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(caution >= 0 && caution <= 10) {
		return 0, errors.New("want a number from 0 to 10, such as 0.25")
	}
	return caution, nil
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

func newExemption(e v1alpha1.Exemption, now time.Time) (plan.Exemption, error) {
	if e.Schedule != "" {
		return newSchedule(e.Schedule, cmp.Or(e.TimeZone, "UTC"), now)
	}
	if e.From == nil || e.To == nil {
		return plan.Exemption{}, userError("want either schedule, or from and to")
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

// checkSelector returns an error if no node can have the labels. The schema does not check the
// characters of the values.
func checkSelector(selector map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		if problems := append(content.IsLabelKey(key), content.IsLabelValue(selector[key])...); len(problems) > 0 {
			return fmt.Errorf("[%s]: %q: %s", key, selector[key], strings.Join(problems, "; "))
		}
	}
	return nil
}

// shadowedBy returns the name of the earlier location that takes all nodes of a later one. The name
// is empty if there is none.
func (p *Policy) shadowedBy(later int) string {
	for _, l := range p.spec.Locations[:later] {
		if len(l.NodeSelector) > 0 && hasAll(p.spec.Locations[later].NodeSelector, l.NodeSelector) {
			return l.Name
		}
	}
	return ""
}
