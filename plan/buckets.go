package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Unlimited is the ceiling without buckets.
const Unlimited = math.MaxInt

// maxBuckets bounds the number of buckets.
const maxBuckets = 100

// Bucket is a range of intensities, given by its upper bound, and the ceiling in that range: how
// many pods may run at once.
type Bucket struct {
	UpTo    float64 // gCO2eq/kWh, inclusive; +Inf is allowed in the last bucket
	Ceiling int     // pods, 0 to 2147483647
}

// Buckets tell how many pods may run at once at which intensity. The zero value sets no limit.
// Buckets are immutable and safe for concurrent use.
type Buckets struct{ ascending []Bucket }

// NewBuckets makes buckets of a list in ascending order of UpTo. An empty list sets no limit. The
// error names the bad bucket, counted from zero, its value and what is allowed.
func NewBuckets(ascending []Bucket) (Buckets, error) {
	if len(ascending) > maxBuckets {
		return Buckets{}, fmt.Errorf("%d buckets: want at most %d", len(ascending), maxBuckets)
	}
	for i, b := range ascending {
		last := i == len(ascending)-1
		switch {
		case math.IsNaN(b.UpTo) || b.UpTo < 0 || b.UpTo > maxIntensity && (!last || !math.IsInf(b.UpTo, 1)):
			return Buckets{}, fmt.Errorf("buckets[%d]: upTo %v: want gCO2eq/kWh as a number from 0 to %.0f; the last may be open", i, b.UpTo, maxIntensity)
		case i > 0 && b.UpTo <= ascending[i-1].UpTo:
			return Buckets{}, fmt.Errorf("buckets[%d]: upTo %v: want more than the %v of the bucket before it", i, b.UpTo, ascending[i-1].UpTo)
		case b.Ceiling < 0 || b.Ceiling > math.MaxInt32:
			return Buckets{}, fmt.Errorf("buckets[%d]: ceiling %d: want a whole number from 0 to %d", i, b.Ceiling, math.MaxInt32)
		}
	}
	return Buckets{slices.Clone(ascending)}, nil
}

// ParseBuckets reads buckets such as `437=110,504=60,*=10`: 110 pods up to 437 gCO2eq/kWh, 60 pods
// up to 504, and 10 pods above. The open bucket, `*`, may be left out: above the last bound the
// last bucket applies. A number alone, `30`, is the ceiling at every intensity.
func ParseBuckets(s string) (Buckets, error) {
	items := strings.Split(s, ",")
	if len(items) > maxBuckets {
		return Buckets{}, fmt.Errorf("%d buckets: want at most %d", len(items), maxBuckets)
	}
	buckets := make([]Bucket, len(items))
	for i, item := range items {
		bound, ceiling, found := strings.Cut(item, "=")
		if !found && len(items) == 1 {
			bound, ceiling = "*", item
		}
		var err error
		if buckets[i], err = parseBucket(strings.TrimSpace(bound), strings.TrimSpace(ceiling)); err != nil {
			return Buckets{}, fmt.Errorf("buckets[%d]: %.40q: %w", i, strings.TrimSpace(item), err)
		}
	}
	return NewBuckets(buckets)
}

func parseBucket(bound, ceiling string) (Bucket, error) {
	b := Bucket{UpTo: math.Inf(1)}
	if bound != "*" {
		upTo, err := ParseIntensity(bound)
		if err != nil {
			return Bucket{}, errors.New("want gCO2eq/kWh (or * for any) = pods, such as 437=110 or *=10")
		}
		b.UpTo = upTo
	}
	pods, err := strconv.ParseUint(ceiling, 10, 31)
	if err != nil {
		return Bucket{}, fmt.Errorf("want a ceiling from 0 to %d pods, such as 437=110 or 30", math.MaxInt32)
	}
	b.Ceiling = int(pods) // fits: it has 31 bits
	return b, nil
}

// IsEmpty reports whether there is no limit.
func (b Buckets) IsEmpty() bool { return len(b.ascending) == 0 }

// Name prints the bucket of an intensity: "<=437", or ">504" for the last one, which has no upper
// end. The name of a single bucket is empty.
func (b Buckets) Name(intensity float64) string {
	last := len(b.ascending) - 1
	switch i := b.index(intensity); {
	case last <= 0:
		return ""
	case i == last:
		return ">" + formatNumber(b.ascending[i-1].UpTo)
	default:
		return "<=" + formatNumber(b.ascending[i].UpTo)
	}
}

// index returns the bucket of an intensity. There must be at least one bucket.
func (b Buckets) index(intensity float64) int {
	return sort.Search(max(0, len(b.ascending)-1), func(i int) bool { return intensity <= b.ascending[i].UpTo })
}

// Ceiling returns how many pods may run at once at an intensity in gCO2eq/kWh, or [Unlimited]
// without buckets. A bound belongs to the bucket below it. Zero or less is in the first bucket. An
// intensity above the last bound is in the last bucket, and so is NaN.
func (b Buckets) Ceiling(intensity float64) int {
	if b.IsEmpty() {
		return Unlimited
	}
	return b.ascending[b.index(intensity)].Ceiling
}

// String prints the buckets as ParseBuckets reads them. It prints "" without buckets.
func (b Buckets) String() string {
	items := make([]string, len(b.ascending))
	for i, bucket := range b.ascending {
		bound := "*"
		if !math.IsInf(bucket.UpTo, 1) {
			bound = strconv.FormatFloat(bucket.UpTo, 'f', -1, 64)
		}
		items[i] = bound + "=" + strconv.Itoa(bucket.Ceiling)
	}
	return strings.Join(items, ",")
}
