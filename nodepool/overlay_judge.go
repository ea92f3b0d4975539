package nodepool

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

// priceVerdict is by how many percent some nodes of a pool are to look dearer.
type priceVerdict struct {
	// isOn says that the intensity counts. Without isOn, no node looks dearer.
	isOn    bool
	percent int32
	// cautious is what a slightly higher intensity would give. The percentage sinks no further.
	cautious int32
	// architectures are those of the nodes that look dearer; none stands for all.
	architectures []string
	// isPending says that it is too early for a verdict.
	isPending bool
	// until is when the verdict may change by itself, zero if it does not.
	until time.Time
	override.Sentence
	// mistake says what in the annotations cannot be used.
	mistake error
}

// judgePrice returns the verdict on the prices of a pool.
func (c *Controller) judgePrice(ctx context.Context, p *pool, now time.Time) (v priceVerdict, err error) {
	s, err := c.seatOf(ctx, p, now)
	if err != nil {
		return v, err
	}
	c.priceSources.Store(p.Name, s.source)
	v.isPending, v.until = s.isPending, s.level.ValidUntil
	mistake := cmp.Or(p.price.mistake, p.powerMistake)
	if v.mistake = p.price.mistake; !p.asks() { // else judge tells of the others
		v.mistake = cmp.Or(mistake, s.mistake)
	}
	if why, _ := whyNot(mistake, s, now); why.Reason != "" {
		v.Sentence = why
		return v, nil
	}
	buckets, isAll := p.price.percents, false
	v.isOn = true
	v.Reason, v.Detail = "the intensity "+s.level.InBucket(buckets.ranks)+" of "+v1alpha1.CarbonPriceAnnotation, s.level.Tell(buckets.ranks, now)
	if v.architectures, isAll = p.dearer(); len(v.architectures) == 0 && !isAll {
		v.Reason, v.Detail = "no node of the pool takes more power than others, by "+v1alpha1.PowerFactorKey, ""
		return v, nil
	}
	v.percent = buckets.values[buckets.rank(s.level.Intensity)]
	v.cautious = buckets.values[buckets.rank(s.level.Intensity*(1+c.Options.Hysteresis))]
	return v, nil
}

// damp returns the percentage to set now, if another one is in force since it was last changed. If the
// wanted one may only be set later, damp also returns when.
func (v priceVerdict) damp(before int32, mayChange, now time.Time) (percent int32, again time.Time) {
	if !v.isOn || v.percent == before {
		return v.percent, time.Time{}
	}
	if now.Before(mayChange) {
		return before, mayChange
	}
	discount, _ := override.Damp(-before, -v.percent, -v.cautious, time.Time{}, now)
	return -discount, time.Time{}
}

// ignoredNote says that Karpenter does not use an overlay, and what to do about it. It is empty if
// Karpenter does, or if it is too early to say so. again is when it is not too early any more.
func (o *overlay) ignoredNote(now time.Time) (note string, again time.Time) {
	heard := o.CreationTimestamp.Add(heardWithin)
	switch {
	case o.isReady == "True":
		return "", time.Time{}
	case o.isReady != "":
		return fmt.Sprintf("Karpenter does not use NodeOverlay %s: %s", o.Name, override.Shorten(o.why, override.MaxSentence)), time.Time{}
	case now.Before(heard):
		return "", heard
	}
	return fmt.Sprintf("Karpenter has said nothing of NodeOverlay %s since %s: start Karpenter with the feature gate NodeOverlay=true",
		o.Name, plan.FormatTime(o.CreationTimestamp.Time)), time.Time{}
}
