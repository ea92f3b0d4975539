package exporter

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// maxNameSize bounds the name of a ConfigMap.
	maxNameSize = 253
	// foreignPause is how long a forecast that somebody else has written must be gone before the
	// exporter brings one. The carbon-intensity exporter deletes its ConfigMap at each refresh.
	foreignPause = 10 * time.Minute
	// countryOfUK is the zone of the whole of Great Britain.
	countryOfUK = "GB"
	// maxListed bounds the names in a message.
	maxListed = 4
)

// targets returns the ConfigMaps to write.
func (e *Exporter) targets(ctx context.Context) ([]target, error) {
	var policies v1alpha1.CarbonPolicyList
	if err := e.Client.List(ctx, &policies); err != nil {
		return nil, fmt.Errorf("list CarbonPolicies: %w", err)
	}
	regions, nodes, err := e.regions(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(policies.Items, func(a, b v1alpha1.CarbonPolicy) int { return strings.Compare(a.Name, b.Name) })
	var targets []target
	ofDefault := v1alpha1.Default()
	for i := range policies.Items {
		p := &policies.Items[i]
		if p.Name == v1alpha1.DefaultPolicy {
			ofDefault = p
		}
		if p.Spec.Forecast.Provider == nil {
			continue
		}
		if len(v1alpha1.ForecastConfigMap(p.Name)) > maxNameSize {
			log.FromContext(ctx).Info("the name of a policy is too long for a provider: its ConfigMap cannot have that name", "policy", p.Name)
			continue
		}
		targets = append(targets, targetOf(p, regions))
	}
	if e.wantsForecastByRegion(ctx, ofDefault) && nodes > 0 {
		targets = append(targets, targetByRegion(regions))
	}
	return targets, nil
}

// targetOf returns the target of a policy with a provider.
func targetOf(p *v1alpha1.CarbonPolicy, regions []string) target {
	t := target{policy: p.Name, source: sourceOf(p.Spec.Forecast.Provider)}
	for _, l := range p.Spec.Locations {
		zone := l.Zone
		if zone == "" {
			zone = l.Name
		}
		t.places = append(t.places, place{l.Name, zone})
	}
	if len(t.places) > 0 {
		return t
	}
	if !t.source.needsZone() {
		t.places = []place{{}}
		return t
	}
	zone, advice := onlyZone(t.source.kind, regions)
	if advice != "" {
		t.advice = advice + ": list the zones of the provider in spec.locations of the CarbonPolicy " + p.Name
		return t
	}
	t.places = []place{{zone, zone}}
	return t
}

// onlyZone returns the provider's zone in which all regions are, or says why there is none.
func onlyZone(of provider.Type, regions []string) (zone, advice string) {
	switch {
	case of == provider.TypeUKCarbonIntensity:
		return countryOfUK, ""
	case len(regions) == 0:
		return "", "no node has the label " + corev1.LabelTopologyRegion
	}
	var zones, uncovered []string
	for _, name := range regions {
		r, _ := region.Find(name)
		zone := r.Zones[string(of)]
		if of == provider.TypeCarbonAwareSDK {
			zone = name // the SDK names its locations as Azure does its regions
		}
		if zone == "" {
			uncovered = append(uncovered, name)
		} else if !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	switch {
	case len(uncovered) > 0:
		return "", "Gridlatch knows no zone of " + string(of) + " for the region " + list(uncovered) + " of the nodes"
	case len(zones) > 1:
		return "", "the nodes are in several zones of " + string(of) + ", " + list(zones)
	}
	return zones[0], ""
}

// targetByRegion returns the target for a cluster whose policies name no provider. A provider without
// a key covers all regions, or the advice says what to do.
func targetByRegion(regions []string) target {
	const remedy = ": name a provider in spec.forecast.provider of the CarbonPolicy " + v1alpha1.DefaultPolicy + ", and its zones in spec.locations"
	var zones []string
	for _, of := range []provider.Type{provider.TypeUKCarbonIntensity, provider.TypeEnergyCharts} {
		var covered []string
		for _, name := range regions {
			if r, ok := region.Find(name); ok && r.Zones[string(of)] != "" && !slices.Contains(covered, r.Zones[string(of)]) {
				covered = append(covered, r.Zones[string(of)])
			} else if !ok || r.Zones[string(of)] == "" {
				covered = append(covered, "")
			}
		}
		if len(covered) == 1 && covered[0] != "" {
			return target{source: source{kind: of}, places: []place{{covered[0], covered[0]}}}
		}
		zones = append(zones, covered...)
	}
	switch unknown := slices.IndexFunc(regions, func(name string) bool { _, ok := region.Find(name); return !ok }); {
	case len(regions) == 0:
		return target{advice: "Gridlatch cannot tell where the nodes are, because none has the label " + corev1.LabelTopologyRegion + remedy}
	case unknown >= 0:
		return target{advice: "Gridlatch does not know the region " + strconv.Quote(regions[unknown]) + " of the nodes" + remedy}
	case len(regions) > 1 && !slices.Contains(zones, ""):
		return target{advice: "the nodes are in several zones of the grid" + remedy}
	}
	return target{advice: "no provider without a key has forecasts for the nodes in " + list(regions) + remedy}
}

// list names the first few.
func list(names []string) string {
	if len(names) > maxListed {
		return strings.Join(names[:maxListed], ", ") + " and " + countOf(len(names)-maxListed, "more", "more")
	}
	return strings.Join(names, ", ")
}

// countOf returns a number with the right form of a noun.
func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// regions returns the regions of the nodes, in order, and the number of nodes.
func (e *Exporter) regions(ctx context.Context) (regions []string, nodes int, err error) {
	found := &metav1.PartialObjectMetadataList{}
	found.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "NodeList"})
	if err := e.Client.List(ctx, found, client.UnsafeDisableDeepCopy); err != nil {
		return nil, 0, fmt.Errorf("list nodes: %w", err)
	}
	for i := range found.Items {
		if name := found.Items[i].Labels[corev1.LabelTopologyRegion]; name != "" && !slices.Contains(regions, name) {
			regions = append(regions, name)
		}
	}
	slices.Sort(regions)
	return regions, len(found.Items), nil
}

// foreignForecast is what is known of the ConfigMap that somebody else may write.
type foreignForecast struct {
	lastSeen time.Time
	isWanted bool // of the last look: nobody else writes it
}

// wantsForecastByRegion reports whether the exporter finds the zone itself: the default policy names
// no provider and no location, and nobody writes the ConfigMap that it reads.
func (e *Exporter) wantsForecastByRegion(ctx context.Context, p *v1alpha1.CarbonPolicy) bool {
	usual := v1alpha1.Default().Spec.Forecast.ConfigMap
	if e.IsManual || p.Spec.Forecast.Provider != nil || len(p.Spec.Locations) > 0 || p.Spec.Forecast.ConfigMap != usual {
		return false
	}
	m := newMetadata("ConfigMap")
	err := e.APIReader.Get(ctx, client.ObjectKey{Namespace: usual.Namespace, Name: usual.Name}, m)
	now := e.Clock.Now()
	switch {
	case err == nil:
		e.foreign = foreignForecast{lastSeen: now}
	case apierrors.IsNotFound(err):
		e.foreign.isWanted = e.foreign.lastSeen.IsZero() || now.Sub(e.foreign.lastSeen) >= foreignPause
	default:
		log.FromContext(ctx).Error(err, "cannot tell whether somebody else writes a forecast", "configMap", usual.Namespace+"/"+usual.Name)
	}
	return e.foreign.isWanted
}

// advise writes what has to be done into the ConfigMaps that no asker writes.
func (e *Exporter) advise(ctx context.Context) error {
	for _, t := range e.advised {
		if _, err := e.write(ctx, t.configMap(), forecast.Document{Message: t.advice}); err != nil {
			return err
		}
	}
	return nil
}
