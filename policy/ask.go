package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Ask is all that the annotations of one group ask for. A field that was not asked for is zero.
type Ask struct {
	WantsToWait bool // delay-tolerant: "true"
	Policy      string
	Location    string
	Deadline    time.Time
	Duration    time.Duration
	Threshold   *float64
	Hold        string // HoldByGate, HoldBySuspend, or empty
	Placement   string // PlacementPreferred, PlacementStrict, or empty
	// Interruptible says that the work may be paused after its start. RestartCost and MinRun are nil if
	// the policy says them. Remaining is how long the work still has to run, by its own word; nil if the
	// work does not say.
	Interruptible                  bool
	RestartCost, MinRun, Remaining *time.Duration
	// PowerWatts is the power of one pod, and FunctionalUnits is how many units the work produces. Both
	// are for the accounts, and no plan depends on them.
	PowerWatts, FunctionalUnits float64
	// Widths is nil if the work does not ask to run wider while the grid is clean.
	Widths *Widths
	// EarlierRuns counts where no duration is asked for. The field comes from no annotation, and
	// ParseAsk leaves the field zero.
	EarlierRuns RunTimes
	// NextRun is when the next run of its CronJob comes, if the work must be done before that run,
	// see [BoundByNextRun]. The zero time is never. ParseAsk leaves the field zero.
	NextRun time.Time
	// Tool gives up on the work if the work waits for too long. ParseAsk leaves the field nil.
	Tool *Tool
	// Candidates is the annotation [v1alpha1.CandidateLocationsAnnotation]. Empty stands for all
	// locations. ParseAsk leaves the field empty.
	Candidates string
}

// ParseAsk reads the annotations of work that was created at created. Each value that cannot be
// read is an error with its path below path, and is left out of the ask.
func ParseAsk(annotations map[string]string, created time.Time, path *field.Path) (Ask, field.ErrorList) {
	var ask Ask
	var errs field.ErrorList
	read := func(key string, parse func(value string) error) {
		value, ok := annotations[key]
		if !ok {
			return
		}
		if len(value) > MaxValue {
			errs = append(errs, field.TooLong(path.Key(key), value[:16]+"…", MaxValue))
			return
		}
		if err := parse(value); err != nil {
			errs = append(errs, field.Invalid(path.Key(key), value, err.Error()))
		}
	}
	read(v1alpha1.DelayTolerantAnnotation, func(value string) (err error) {
		ask.WantsToWait, err = parseBool(value)
		return err
	})
	read(v1alpha1.DeadlineAnnotation, func(value string) (err error) {
		ask.Deadline, err = plan.ParseDeadline(value, created)
		return err
	})
	read(v1alpha1.DurationAnnotation, func(value string) (err error) {
		ask.Duration, err = plan.ParseDuration(value)
		return err
	})
	read(v1alpha1.ThresholdAnnotation, func(value string) error {
		threshold, err := plan.ParseIntensity(value)
		if err == nil {
			ask.Threshold = &threshold
		}
		return err
	})
	read(v1alpha1.LocationAnnotation, func(value string) error {
		ask.Location = value
		return wantText(value, "the name of a location of the policy")
	})
	read(v1alpha1.PolicyAnnotation, func(value string) error {
		ask.Policy = value
		if problems := content.IsDNS1123Subdomain(value); len(problems) > 0 {
			ask.Policy = ""
			return userError("want the name of a CarbonPolicy: " + strings.Join(problems, "; "))
		}
		return nil
	})
	read(v1alpha1.HoldAnnotation, oneOf(&ask.Hold, v1alpha1.HoldByGate, v1alpha1.HoldBySuspend))
	ask.readPauses(read)
	read(v1alpha1.PlacementAnnotation, oneOf(&ask.Placement, v1alpha1.PlacementPreferred, v1alpha1.PlacementStrict))
	read(v1alpha1.PowerWattsAnnotation, positive(&ask.PowerWatts, maxPowerWatts, "watts", "10000000, such as 250"))
	read(v1alpha1.FunctionalUnitsAnnotation, positive(&ask.FunctionalUnits, maxFunctionalUnits, "functional units", "1000000000000, such as 100"))
	ask.Widths = parseWidths(read)
	return ask, errs
}

// readPauses reads what the annotations say of pauses.
func (a *Ask) readPauses(read func(key string, parse func(value string) error)) {
	read(v1alpha1.InterruptibleAnnotation, func(value string) (err error) {
		a.Interruptible, err = parseBool(value)
		return err
	})
	read(v1alpha1.RestartCostAnnotation, maybeZero(&a.RestartCost))
	read(v1alpha1.MinRunAnnotation, maybeZero(&a.MinRun))
	read(v1alpha1.RemainingAnnotation, maybeZero(&a.Remaining))
}

// maybeZero returns a function that reads a duration, which may be zero.
func maybeZero(into **time.Duration) func(string) error {
	return func(value string) error {
		duration, err := parseDelay(v1alpha1.Duration(value))
		if err == nil {
			*into = &duration
		}
		return err
	}
}

// CheckTogether returns an error for each annotation that contradicts another one. The ask is that of an
// object whose annotations are at path.
func (a *Ask) CheckTogether(path *field.Path) (errs field.ErrorList) {
	if a.Interruptible && a.Hold == v1alpha1.HoldByGate {
		want := fmt.Sprintf("interruptible work is always held by %q: remove this annotation, or %s", v1alpha1.HoldBySuspend, v1alpha1.InterruptibleAnnotation)
		errs = append(errs, field.Invalid(path.Key(v1alpha1.HoldAnnotation), a.Hold, want))
	}
	if a.Interruptible && a.Widths != nil {
		want := fmt.Sprintf("want one of %s and %s: a Job is paused, or runs at several widths", v1alpha1.InterruptibleAnnotation, v1alpha1.ParallelismAnnotation)
		errs = append(errs, field.Invalid(path.Key(v1alpha1.ParallelismAnnotation), fmt.Sprintf("%d-%d", a.Widths.Least, a.Widths.Most), want))
	}
	return errs
}

func wantText(value, want string) error {
	if strings.TrimSpace(value) == "" {
		return userError("want " + want)
	}
	return nil
}

// oneOf returns a function that reads one of two words.
func oneOf(into *string, one, other string) func(string) error {
	return func(value string) error {
		if value != one && value != other {
			return userError(`want "` + one + `" or "` + other + `"`)
		}
		*into = value
		return nil
	}
}

const (
	maxPowerWatts      = 1e7
	maxFunctionalUnits = 1e12
)

// positive returns a function that reads a number above 0 and up to limit. The limit is in words in
// upTo.
func positive(into *float64, limit float64, unit, upTo string) func(string) error {
	return func(value string) error {
		number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(number > 0 && number <= limit) { // NaN is neither
			return userError("want " + unit + " as a number above 0 and up to " + upTo)
		}
		*into = number
		return nil
	}
}

func parseBool(value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, userError(`want "true" or "false"`)
	}
}

// userError is an error whose text users read behind the path of a field.
type userError string

func (s userError) Error() string { return string(s) }
