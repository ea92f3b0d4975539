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

const (
	// maxWidth bounds how many pods of one work may run at once.
	maxWidth = 100_000
	// maxSpeedupPairs bounds the pairs of a speedup.
	maxSpeedupPairs = 32
	// maxThroughput bounds the throughput of a pair.
	maxThroughput = 1e6
)

// ParseWidths reads how many pods of one work may run at once: "2-40" is 2 to 40.
func ParseWidths(s string) (least, most int, err error) {
	first, second, isRange := strings.Cut(s, "-")
	least, err1 := parseWidth(first)
	most, err2 := parseWidth(second)
	if !isRange || errors.Join(err1, err2) != nil || least > most {
		return 0, 0, fmt.Errorf("want the least and the most pods, from 1 to %d, such as 2-40", maxWidth)
	}
	return least, most, nil
}

func parseWidth(s string) (int, error) {
	width, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err == nil && (width < 1 || width > maxWidth) {
		err = strconv.ErrRange
	}
	return int(width), err // fits: it has 31 bits
}

// Speedup is the throughput of work by its width: how many pods run at once. It is relative to the
// throughput of one pod. Between the given widths it is linear. No step to a larger width gains more
// for each pod than the step before it. The zero value is linear: each pod does as much as the
// first. A Speedup is immutable and safe for concurrent use.
type Speedup struct{ pairs []speedupPair }

type speedupPair struct {
	width      int
	throughput float64
}

// ParseSpeedup reads pairs such as "1=1,10=8,40=20": ten pods do eight times as much as one. The
// widths are ascending. Below the first width each pod does the same, and above the last width more
// pods do no more. An empty text is linear.
func ParseSpeedup(s string) (Speedup, error) {
	if strings.TrimSpace(s) == "" {
		return Speedup{}, nil
	}
	items := strings.Split(s, ",")
	if len(items) > maxSpeedupPairs {
		return Speedup{}, fmt.Errorf("%d pairs: want at most %d", len(items), maxSpeedupPairs)
	}
	var parsed Speedup
	before, gained := speedupPair{}, math.Inf(1)
	for _, item := range items {
		pair, err := parseSpeedupPair(item)
		if err == nil {
			gained, err = pair.gain(before, gained)
		}
		if err != nil {
			return Speedup{}, fmt.Errorf("%.40q: %w", strings.TrimSpace(item), err)
		}
		parsed.pairs, before = append(parsed.pairs, pair), pair
	}
	return parsed, nil
}

func parseSpeedupPair(item string) (speedupPair, error) {
	first, second, _ := strings.Cut(item, "=")
	width, err := parseWidth(first)
	if err != nil {
		return speedupPair{}, fmt.Errorf("want pods (1 to %d) = throughput, such as 10=8", maxWidth)
	}
	throughput, err := strconv.ParseFloat(strings.TrimSpace(second), 64)
	if err != nil || !(throughput > 0 && throughput <= maxThroughput) {
		return speedupPair{}, fmt.Errorf("want a throughput above 0 and up to %.0f, relative to one pod, such as 10=8", maxThroughput)
	}
	return speedupPair{width, throughput}, nil
}

// gain returns what each pod more than before gains. It is an error if that is more than the step
// before gained, or less than nothing.
func (p speedupPair) gain(before speedupPair, gained float64) (float64, error) {
	switch gain := (p.throughput - before.throughput) / float64(p.width-before.width); {
	case p.width <= before.width:
		return 0, fmt.Errorf("want more pods than the %d of the pair before it", before.width)
	case gain < 0:
		return 0, fmt.Errorf("want no less throughput than the %g of %d pods", before.throughput, before.width)
	case gain > gained*(1+1e-9): // a rounding is no gain
		return 0, fmt.Errorf("each pod more gains %.3g, and %.3g up to %d pods: want a gain that does not grow", gain, gained, before.width)
	default:
		return gain, nil
	}
}

// IsLinear reports whether each pod does as much as the first.
func (s Speedup) IsLinear() bool { return len(s.pairs) == 0 }

// FirstWidth returns the width of the first pair; 1 if the speedup is linear.
func (s Speedup) FirstWidth() int {
	if s.IsLinear() {
		return 1
	}
	return s.pairs[0].width
}

// At returns the throughput of a width, relative to one pod. It is zero for a width below 1.
func (s Speedup) At(width int) float64 { return s.at(float64(width)) }

func (s Speedup) at(width float64) float64 {
	width = max(width, 0)
	if s.IsLinear() {
		return width
	}
	i := sort.Search(len(s.pairs), func(i int) bool { return float64(s.pairs[i].width) >= width })
	if i == len(s.pairs) {
		return s.pairs[i-1].throughput
	}
	var before speedupPair
	if i > 0 {
		before = s.pairs[i-1]
	}
	pair := s.pairs[i]
	share := (width - float64(before.width)) / float64(pair.width-before.width)
	return before.throughput + share*(pair.throughput-before.throughput)
}

// corners returns the widths between least and most, both included, at which the gain of one more
// pod changes.
func (s Speedup) corners(least, most int) []int {
	corners := []int{least}
	for _, pair := range s.pairs {
		if pair.width > least && pair.width < most {
			corners = append(corners, pair.width)
		}
	}
	return slices.Compact(append(corners, most))
}

// String prints the speedup as ParseSpeedup reads it.
func (s Speedup) String() string {
	items := make([]string, len(s.pairs))
	for i, pair := range s.pairs {
		items[i] = strconv.Itoa(pair.width) + "=" + strconv.FormatFloat(pair.throughput, 'g', -1, 64)
	}
	return strings.Join(items, ",")
}
