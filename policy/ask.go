package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// maxValue bounds what is read of an annotation.
const MaxValue = 256

// Ask is what the annotations of one group ask for. Fields that were not given
// are zero.
type Ask struct {
	Wanted    bool // delay-tolerant: "true"
	Policy    string
	Location  string
	Deadline  time.Time
	Duration  time.Duration
	Threshold *float64
	Hold      string // HoldByGate, HoldBySuspend, or empty
	Placement string // PlacementPreferred, PlacementStrict, or empty
	// Earlier counts where no duration is asked for. It is no annotation, and
	// ParseAsk leaves it zero.
	Earlier RunTimes
	// ReplacedAt is when the next run of its CronJob deletes it, see ReplacedAt; zero
	// is never. Tool is what gives up on the work if it waits for too long; nil is
	// nothing. ParseAsk leaves both empty, too.
	ReplacedAt time.Time
	Tool       *Tool
	// Only names the locations whose nodes suit the work, see Candidates; empty
	// is all. ParseAsk leaves it empty, too.
	Only string
}

// ParseAsk reads the annotations of work created at created. Every value that
// cannot be read is an error with its path below annotations, and is left out
// of the ask.
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
		ask.Wanted, err = parseBool(value)
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
			return sentence("want the name of a CarbonPolicy: " + strings.Join(problems, "; "))
		}
		return nil
	})
	read(v1alpha1.HoldAnnotation, oneOf(&ask.Hold, v1alpha1.HoldByGate, v1alpha1.HoldBySuspend))
	read(v1alpha1.PlacementAnnotation, oneOf(&ask.Placement, v1alpha1.PlacementPreferred, v1alpha1.PlacementStrict))
	return ask, errs
}

// Strange returns a warning for each annotation of ours that nobody reads, such
// as one that is misspelt: work would wait by other terms than were meant.
func UnknownKeys(annotations map[string]string, path *field.Path) []string {
	var warnings []string
	ours := append(AskKeys(), WrittenKeys()...)
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, v1alpha1.Prefix) && !slices.Contains(ours, key) && len(warnings) < maxStrange {
			warnings = append(warnings, fmt.Sprintf("%s: not known, and so without effect; want %s and one of %s",
				path.Key(fmt.Sprintf("%.80s", key)), v1alpha1.Prefix, strings.ReplaceAll(strings.Join(AskKeys(), ", "), v1alpha1.Prefix, "")))
		}
	}
	return warnings
}

// maxStrange is how many annotations are warned of.
const maxStrange = 3

// sentence is an error that is shown to users behind a field's path.
type sentence string

func (s sentence) Error() string { return string(s) }

func wantText(value, want string) error {
	if strings.TrimSpace(value) == "" {
		return sentence("want " + want)
	}
	return nil
}

// oneOf reads one of two words.
func oneOf(into *string, one, other string) func(string) error {
	return func(value string) error {
		if value != one && value != other {
			return sentence(`want "` + one + `" or "` + other + `"`)
		}
		*into = value
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
		return false, sentence(`want "true" or "false"`)
	}
}

// JobAsk returns the annotations of the ask that holds for a Job: its own, laid
// over those of its pod template. A wish that is a label is among them.
func JobAsk(template, job metav1.Object) map[string]string {
	ask := Asked(template)
	maps.Copy(ask, Asked(job))
	return ask
}

// Limit has a task start in time for what does not wait for it: the next run of its
// CronJob and, unless it has a deadline, its tool.
func (a *Ask) Limit(task *plan.Task, created time.Time, longest time.Duration) {
	earlier := func(at time.Time) {
		if at.Before(task.LatestStart) {
			task.LatestStart = at
		}
	}
	if !a.ReplacedAt.IsZero() {
		earlier(plan.LatestStart(a.ReplacedAt, longest))
	}
	if a.Tool != nil && a.Deadline.IsZero() {
		earlier(a.Tool.LatestStart(created, longest))
	}
}

// RunTimes is how long earlier runs of the same work took; zero if none is
// known.
type RunTimes struct {
	// Median is rounded up: to a minute if it is more than ten, else to a second.
	Median time.Duration
	// Slowest is the longest that one took.
	Slowest time.Duration
	// Count is how many there are.
	Count int
}
