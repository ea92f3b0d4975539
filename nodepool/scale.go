package nodepool

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/gridlatch/gridlatch/plan"
)

// maxBuckets bounds the buckets of an annotation.
const maxBuckets = 100

// scale gives a value to each bucket of intensity. The zero scale has no bucket.
type scale[T any] struct {
	// ranks give each bucket its rank in place of a ceiling. The dirtiest bucket has the rank 0.
	ranks plan.Buckets
	// names and values are by rank.
	names  []string
	values []T
}

// parseScale reads buckets such as 200=A,350=B,*=C. Bounds ascend, and belong to their bucket. Without
// the open bucket *, the last bucket also counts above its bound.
func parseScale[T any](text string, parse func(string) (T, error)) (scale[T], error) {
	items := strings.Split(text, ",")
	if len(items) > maxBuckets {
		return scale[T]{}, fmt.Errorf("%d buckets: want at most %d", len(items), maxBuckets)
	}
	last := len(items) - 1
	ascending := make([]plan.Bucket, len(items))
	s := scale[T]{names: make([]string, len(items)), values: make([]T, len(items))}
	for i, item := range items {
		bound, value, _ := strings.Cut(item, "=")
		upTo, err := parseBound(strings.TrimSpace(bound))
		if err == nil {
			s.values[last-i], err = parse(strings.TrimSpace(value))
		}
		if err != nil {
			return scale[T]{}, fmt.Errorf("buckets[%d]: %.60q: %w", i, strings.TrimSpace(item), err)
		}
		ascending[i] = plan.Bucket{UpTo: upTo, Ceiling: last - i}
	}
	var err error
	if s.ranks, err = plan.NewBuckets(ascending); err != nil {
		return scale[T]{}, err
	}
	for i, b := range ascending {
		s.names[last-i] = s.ranks.Name(b.UpTo)
	}
	return s, nil
}

func parseBound(text string) (float64, error) {
	if text == "*" {
		return math.Inf(1), nil
	}
	upTo, err := plan.ParseIntensity(text)
	if err != nil {
		return 0, errors.New("want gCO2eq/kWh, or * for any, then = and what counts up to there")
	}
	return upTo, nil
}

// isEmpty reports whether there is no bucket.
func (s scale[T]) isEmpty() bool { return len(s.values) == 0 }

// rank returns the rank of the bucket of an intensity. There must be a bucket.
func (s scale[T]) rank(intensity float64) int { return s.ranks.Ceiling(intensity) }

// named returns the rank of the bucket with a name, and false if there is none.
func (s scale[T]) named(name string) (int, bool) {
	for rank, known := range s.names {
		if known == name && name != "" {
			return rank, true
		}
	}
	return 0, false
}
