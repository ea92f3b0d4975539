package ceiling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// Each forecast that scalers name, beside those of the policies, is a watch and memory.
const (
	maxSources             = 200
	maxSourcesPerNamespace = 10
)

// sources are the forecasts that scalers name.
type sources struct {
	followed []forecast.Source
	// notFollowed has the limit that each other forecast exceeds.
	notFollowed map[forecast.Source]limit
}

// limit is a limit on the forecasts that the scalers of a namespace name. Without a namespace, it
// is the limit for all scalers.
type limit struct{ namespace string }

// String says why a forecast beyond the limit is not followed.
func (l limit) String() string {
	if l.namespace == "" {
		return fmt.Sprintf("the forecast is not followed: older CarbonAwareKedaScalers name %d other forecasts, and there may be no more in all", maxSources)
	}
	return fmt.Sprintf("the forecast is not followed: older CarbonAwareKedaScalers in namespace %s name %d other forecasts, and a namespace may name no more",
		l.namespace, maxSourcesPerNamespace)
}

// sourceOf names the forecast of a scaler, or returns the zero Source for the mock forecast. The
// error says what is wrong with the name.
func sourceOf(s *carbonaware.CarbonAwareKedaScaler) (forecast.Source, error) {
	from := s.Spec.CarbonIntensityForecastDataSource
	key, none := from.LocalConfigMap, forecast.Source{}
	switch {
	case from.MockCarbonForecast:
		return none, nil
	case key == nil:
		return none, errors.New("want mockCarbonForecast or localConfigMap")
	case len(validation.IsDNS1123Label(key.Namespace)) > 0:
		return none, fmt.Errorf("localConfigMap.namespace: %.80q: want the name of a namespace", key.Namespace)
	case len(validation.IsDNS1123Subdomain(key.Name)) > 0:
		return none, fmt.Errorf("localConfigMap.name: %.80q: want the name of a ConfigMap", key.Name)
	case len(validation.IsConfigMapKey(key.Key)) > 0:
		return none, fmt.Errorf("localConfigMap.key: %.80q: want a key of the ConfigMap", key.Key)
	}
	return forecast.Source{Namespace: key.Namespace, Name: key.Name, Key: key.Key}, nil
}

// newSources chooses the forecasts that are followed: those of the oldest scalers. So a new scaler
// takes nothing from anybody.
func newSources(scalers []*carbonaware.CarbonAwareKedaScaler) sources {
	scalers = slices.Clone(scalers)
	slices.SortFunc(scalers, func(a, b *carbonaware.CarbonAwareKedaScaler) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(nameOf(a), nameOf(b)))
	})
	all, perNamespace := sources{notFollowed: map[forecast.Source]limit{}}, map[string]int{}
	isFollowed := map[forecast.Source]bool{}
	for _, s := range scalers {
		source, err := sourceOf(s)
		switch {
		case err != nil || source == (forecast.Source{}) || isFollowed[source]:
		case perNamespace[s.Namespace] == maxSourcesPerNamespace:
			all.notFollowed[source] = limit{s.Namespace}
		case len(all.followed) == maxSources:
			all.notFollowed[source] = limit{}
		default:
			isFollowed[source] = true
			all.followed = append(all.followed, source)
			perNamespace[s.Namespace]++
			delete(all.notFollowed, source)
		}
	}
	return all
}

// exceeds returns the limit that a forecast exceeds, and whether it exceeds one.
func (s *sources) exceeds(source forecast.Source) (l limit, exceeds bool) {
	if s == nil {
		return limit{}, false
	}
	l, exceeds = s.notFollowed[source]
	return l, exceeds
}

// followSources makes the store keep the forecasts that scalers name.
func (c *Controller) followSources(ctx context.Context) error {
	if !c.scalersChanged.CompareAndSwap(true, false) {
		return nil
	}
	named := newSources(c.allScalers())
	c.mu.Lock()
	maps.DeleteFunc(c.seen, func(key seriesKey, _ seen) bool { return !slices.Contains(named.followed, key.source) })
	c.mu.Unlock()
	before := c.named.Swap(&named)
	if err := c.Follow(ctx, named.followed); err != nil {
		c.scalersChanged.Store(true)
		return err
	}
	if before != nil {
		c.wakeSources(func(source forecast.Source) bool {
			limitBefore, exceededBefore := before.exceeds(source)
			limit, exceeds := named.exceeds(source)
			return exceeds != exceededBefore || limit != limitBefore
		})
	}
	return nil
}

// wakeSources looks at the targets whose ceiling comes from a source that is concerned.
func (c *Controller) wakeSources(isConcerned func(forecast.Source) bool) {
	c.sources.Range(func(r, source any) bool {
		if isConcerned(source.(forecast.Source)) {
			c.queue.Add(r.(ref))
		}
		return true
	})
	c.triggers.Range(func(r, memory any) bool {
		if source := memory.(*triggerMemory).source.Load(); source != nil && isConcerned(*source) {
			c.queue.Add(r.(ref))
		}
		return true
	})
}
