package ceiling

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// The most forecasts that CarbonAwareKedaScalers may name beside those of
	// the policies, in all and in one namespace: each is a watch, and memory.
	maxSources, maxSourcesEach = 200, 10
)

// sources are the forecasts that scalers name.
type sources struct {
	followed []forecast.Source
	// left says of each other one why it is not followed.
	left map[forecast.Source]string
}

// newSources chooses the forecasts that are followed: those of the oldest scalers,
// so that a new one takes nothing from anybody.
func newSources(scalers []*carbonaware.CarbonAwareKedaScaler) sources {
	scalers = slices.Clone(scalers)
	slices.SortFunc(scalers, func(a, b *carbonaware.CarbonAwareKedaScaler) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(nameOf(a), nameOf(b)))
	})
	all, each := sources{left: map[forecast.Source]string{}}, map[string]int{}
	seen := map[forecast.Source]bool{}
	for _, s := range scalers {
		source, err := sourceOf(s)
		switch {
		case err != nil || source == (forecast.Source{}) || seen[source]:
		case each[s.Namespace] == maxSourcesEach:
			all.left[source] = fmt.Sprintf("the forecast is not followed: older CarbonAwareKedaScalers in namespace %s name %d others, which is the most for one namespace", s.Namespace, maxSourcesEach)
		case len(all.followed) == maxSources:
			all.left[source] = fmt.Sprintf("the forecast is not followed: older CarbonAwareKedaScalers name %d others, which is the most in all", maxSources)
		default:
			seen[source] = true
			all.followed = append(all.followed, source)
			each[s.Namespace]++
			delete(all.left, source)
		}
	}
	return all
}

// left says why a forecast is not followed; empty if it is.
func (c *Controller) left(source forecast.Source) string {
	if named := c.named.Load(); named != nil {
		return named.left[source]
	}
	return ""
}

// follow has the forecasts that scalers name in the store.
func (c *Controller) follow(ctx context.Context) error {
	if !c.unasked.CompareAndSwap(true, false) {
		return nil
	}
	named := newSources(c.allScalers())
	c.mu.Lock()
	maps.DeleteFunc(c.past, func(key courseKey, _ past) bool {
		return !slices.Contains(named.followed, key.source)
	})
	c.mu.Unlock()
	before := c.named.Swap(&named)
	err := c.Follow(ctx, named.followed)
	if err != nil {
		c.unasked.Store(true)
		return err
	}
	if before != nil {
		c.wakeSources(func(source forecast.Source) bool { return before.left[source] != named.left[source] })
	}
	return nil
}

// wakeSources looks at the targets whose ceiling comes from such a source.
func (c *Controller) wakeSources(such func(source forecast.Source) bool) {
	c.sources.Range(func(r, source any) bool {
		if such(source.(forecast.Source)) {
			c.queue.Add(r.(ref))
		}
		return true
	})
}
