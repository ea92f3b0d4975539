package trigger

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Type is the type of the triggers that people write.
const Type = "carbon-intensity"

// The keys of the metadata. Gridlatch writes the last two.
const (
	regionKey      = "region"
	policyKey      = "policy"
	thresholdKey   = "emissionThreshold"
	handlerKey     = "handler"
	hysteresisKey  = "hysteresisPercent"
	modeKey        = "mode"
	cleanHoursKey  = "cleanHoursPerDay"
	timeZoneKey    = "timeZone"
	gradualKey     = "gradual"
	gradualUpToKey = "gradualUpTo"

	// EffectKey says what the trigger does, if it does not ask for replicas.
	EffectKey = "effect"
	// WrittenAsKey has the type of the trigger before it was replaced.
	WrittenAsKey = "writtenAs"

	// EffectCeiling says that the trigger asks for nothing, and that a ceiling follows it.
	EffectCeiling = "ceiling"
	// EffectAwake says the same, but that the trigger keeps the object awake while the grid is clean. By
	// the triggers cpu and memory, KEDA starts no first replica, and keeps none.
	EffectAwake = "awake"
)

const (
	modeThreshold = "threshold"
	modePlanned   = "planned"
)

// maxValueBytes bounds a value of the metadata that is read: no name of an object is longer.
const maxValueBytes = 253

// minCleanHours is the shortest time of a day that can be asked for.
const minCleanHours = time.Minute

// maxHysteresisPercent bounds the hysteresis.
const maxHysteresisPercent = 50

// Handler is what happens while the grid is dirty.
type Handler string

const (
	// HandlerScaleDown scales the object to its minReplicaCount.
	HandlerScaleDown Handler = "scaleDown"
	// HandlerPause pauses the object, whose replicas stay as they are.
	HandlerPause Handler = "pause"
)

// Wish is what a trigger asks for.
type Wish struct {
	// Policy is the name of a CarbonPolicy.
	Policy string
	// Region is a location of the policy or a cloud region, empty for the first location.
	Region string
	// Threshold is in gCO2eq/kWh. Up to it the grid is clean. It means nothing in the mode planned.
	Threshold float64
	// Hysteresis is the share (0.05 is 5 %) by which a clean grid may exceed the threshold.
	Hysteresis float64
	Handler    Handler
	// CleanHours is how much of each day is clean, 0 unless the mode is planned.
	CleanHours time.Duration
	// Zone is the time zone of the days.
	Zone *time.Location
	// GradualUpTo is the intensity from which on the grid is wholly dirty, 0 unless the wish is
	// gradual. Between the threshold and this intensity the share falls.
	GradualUpTo float64
	// IsCeiling says that the trigger asks for no replicas, and that a ceiling follows it.
	IsCeiling bool
	// KeepsAwake says that the trigger keeps the object awake while the grid is clean. Then IsCeiling is
	// true, too.
	KeepsAwake bool
}

// ParseWish reads the metadata of a trigger. Keys that KEDA's external scaler reads are not looked
// at. The errors have the path of each value that cannot be used, and what is allowed.
func ParseWish(metadata map[string]string, path *field.Path) (Wish, field.ErrorList) {
	r := reader{metadata: metadata, path: path.Child("metadata")}
	w := Wish{Handler: HandlerScaleDown, Policy: v1alpha1.DefaultPolicy, Zone: time.UTC}
	isPlanned, isGradual := false, false
	r.read(regionKey, func(text string) error { w.Region = text; return nil })
	r.read(policyKey, func(text string) error { w.Policy = text; return nil })
	r.read(handlerKey, func(text string) error {
		w.Handler = Handler(text)
		return oneOf(text, string(HandlerScaleDown), string(HandlerPause))
	})
	r.read(modeKey, func(text string) error {
		isPlanned = text == modePlanned
		return oneOf(text, modeThreshold, modePlanned)
	})
	r.read(thresholdKey, func(text string) (err error) { w.Threshold, err = plan.ParseIntensity(text); return err })
	r.read(hysteresisKey, func(text string) (err error) { w.Hysteresis, err = parsePercent(text); return err })
	r.read(cleanHoursKey, func(text string) (err error) { w.CleanHours, err = parseHours(text); return err })
	r.read(timeZoneKey, func(text string) (err error) { w.Zone, err = plan.ParseZone(text); return err })
	r.read(gradualKey, func(text string) (err error) { isGradual, err = parseBool(text); return err })
	r.read(gradualUpToKey, func(text string) (err error) { w.GradualUpTo, err = plan.ParseIntensity(text); return err })
	r.read(EffectKey, func(text string) error { w.follow(text); return oneOf(text, EffectCeiling, EffectAwake) })
	r.checkKeys()
	r.checkMode(isPlanned)
	r.checkGradual(&w, isGradual, isPlanned)
	if len(r.errs) > 0 {
		return Wish{}, r.errs
	}
	return w, nil
}

// follow gives the wish an effect.
func (w *Wish) follow(effect string) {
	w.IsCeiling, w.KeepsAwake = effect != "", effect == EffectAwake
}

// reader reads metadata, and collects the errors.
type reader struct {
	metadata map[string]string
	path     *field.Path
	errs     field.ErrorList
}

// read reads the value of a key, if there is one.
func (r *reader) read(key string, parse func(text string) error) {
	text, ok := r.metadata[key]
	if !ok {
		return
	}
	err := error(nil)
	switch {
	case text == "":
		err = errors.New("want a value, or not this key")
	case len(text) > maxValueBytes:
		err = fmt.Errorf("want at most %d bytes", maxValueBytes)
	default:
		err = parse(text)
	}
	if err != nil {
		r.errs = append(r.errs, field.Invalid(r.path.Child(key), shown(text), err.Error()))
	}
}

// checkKeys collects an error for each key that nobody reads.
func (r *reader) checkKeys() {
	known := append(wishKeys(), EffectKey, WrittenAsKey)
	for _, key := range slices.Sorted(maps.Keys(r.metadata)) {
		if slices.Contains(known, key) || slices.Contains(connectionKeys(), key) {
			continue
		}
		r.errs = append(r.errs, field.NotSupported(r.path, shown(key), wishKeys()))
		if len(r.errs) > maxErrors {
			return
		}
	}
}

// checkMode collects an error if the keys do not fit the mode.
func (r *reader) checkMode(isPlanned bool) {
	needed, useless := thresholdKey, []string{cleanHoursKey, timeZoneKey}
	if isPlanned {
		needed, useless = cleanHoursKey, []string{thresholdKey, hysteresisKey}
	}
	if _, ok := r.metadata[needed]; !ok {
		r.errs = append(r.errs, field.Required(r.path.Child(needed), "want "+example(needed)))
	}
	for _, key := range useless {
		if _, ok := r.metadata[key]; ok {
			mode := modePlanned
			if isPlanned {
				mode = modeThreshold
			}
			r.errs = append(r.errs, field.Forbidden(r.path.Child(key), fmt.Sprintf("it counts only with mode: %s", mode)))
		}
	}
}

// checkGradual completes what a gradual wish needs, and collects an error if a key does not fit.
func (r *reader) checkGradual(w *Wish, isGradual, isPlanned bool) {
	_, hasEnd := r.metadata[gradualUpToKey]
	switch {
	case !isGradual && hasEnd:
		r.errs = append(r.errs, field.Forbidden(r.path.Child(gradualUpToKey), `it counts only with gradual: "true"`))
	case !isGradual:
		return
	case isPlanned || w.Handler == HandlerPause:
		r.errs = append(r.errs, field.Forbidden(r.path.Child(gradualKey), "it goes only with mode: threshold and handler: scaleDown"))
	case !hasEnd:
		w.GradualUpTo = max(2*w.Threshold, math.SmallestNonzeroFloat64)
	case w.GradualUpTo <= w.Threshold:
		r.errs = append(r.errs, field.Invalid(r.path.Child(gradualUpToKey), shown(r.metadata[gradualUpToKey]), "want more than "+thresholdKey))
	}
}

// maxErrors bounds the errors of one trigger.
const maxErrors = 10

// wishKeys returns the keys that people write.
func wishKeys() []string {
	return []string{
		thresholdKey, handlerKey, regionKey, policyKey, hysteresisKey, modeKey, cleanHoursKey, timeZoneKey, gradualKey, gradualUpToKey,
	}
}

// connectionKeys returns the keys that KEDA's external scaler reads.
func connectionKeys() []string { return []string{addressKey, enableTLSKey, "unsafeSsl"} }

// example returns a value that a key can have.
func example(key string) string {
	if key == cleanHoursKey {
		return `the hours of each day that are to be clean, such as "8"`
	}
	return `gCO2eq/kWh up to which the grid is clean, such as "200"`
}

func oneOf(text string, allowed ...string) error {
	if slices.Contains(allowed, text) {
		return nil
	}
	return errors.New("want " + strings.Join(allowed, " or "))
}

func parseBool(text string) (bool, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New(`want "true" or "false"`)
	}
	return on, nil
}

// parsePercent reads a percentage, and returns it as a share.
func parsePercent(text string) (float64, error) {
	percent, err := strconv.ParseFloat(text, 64)
	if err != nil || !(percent >= 0 && percent <= maxHysteresisPercent) {
		return 0, fmt.Errorf("want a percentage from 0 to %d, such as 5", maxHysteresisPercent)
	}
	return percent / 100, nil
}

// parseHours reads a number of hours of a day.
func parseHours(text string) (time.Duration, error) {
	hours, err := strconv.ParseFloat(text, 64)
	if err != nil || !(hours >= minCleanHours.Hours() && hours <= 24) {
		return 0, errors.New("want at least a minute and at most 24 hours, such as 8 or 7.5")
	}
	return time.Duration(hours * float64(time.Hour)), nil
}

// shown returns a text of somebody else as an error may have it.
func shown(text string) string {
	if len(text) <= maxValueBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxValueBytes], "") + "…"
}
