package exporter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

const (
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
	regions, err := e.regions(ctx)
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
		targets = append(targets, targetOf(p, regions))
	}
	if e.wantsForecastByRegion(ctx, ofDefault) {
		targets = append(targets, targetByRegion(regions))
	}
	return e.withoutNodes(targets, regions.nodes), nil
}

// withoutNodes returns the targets of the last look in place of those that cannot be told now, because
// a cluster has no nodes for a while.
func (e *Exporter) withoutNodes(targets []target, nodes int) []target {
	now := map[string]target{}
	for i, t := range targets {
		before, ok := e.before[t.policy]
		if isSame := t.policy == "" || before.source == t.source; ok && isSame && nodes == 0 && t.advice != "" {
			targets[i] = before
		}
		now[t.policy] = targets[i]
	}
	e.before = now
	return targets
}

// targetOf returns the target of a policy with a provider.
func targetOf(p *v1alpha1.CarbonPolicy, regions nodeRegions) target {
	t := target{policy: p.Name, source: sourceOf(&p.Spec.Forecast)}
	for _, l := range p.Spec.Locations {
		zone := l.Zone
		if zone == "" {
			zone = l.Name
		}
		t.places = append(t.places, place{location: l.Name, zone: zone, points: pointsOf(l.WeatherPoints)})
	}
	if len(t.places) > 0 {
		return t
	}
	if !t.source.needsZone() {
		t.places = []place{{}}
		return t
	}
	zone, problem := countryOfUK, ""
	if t.source.kind != provider.TypeUKCarbonIntensity {
		zone, problem = onlyZone(t.source.kind, regions)
	}
	if problem != "" {
		t.advice = problem + ": list the zones of the provider in spec.locations of the CarbonPolicy " + p.Name
		return t
	}
	t.places = []place{{location: zone, zone: zone}}
	return t
}

// zonesOf returns the zones of a provider in which regions are, and the regions of which no zone is
// known.
func zonesOf(of provider.Type, regions []string) (zones, uncovered []string) {
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
	return zones, uncovered
}

// onlyZone returns the provider's zone in which all regions are, or says why there is none.
func onlyZone(of provider.Type, regions nodeRegions) (zone, problem string) {
	zones, uncovered := zonesOf(of, regions.names)
	switch {
	case len(regions.names) == 0:
		return "", "no node has the label " + corev1.LabelTopologyRegion
	case len(regions.foreign) > 0:
		return "", regions.foreignProblem()
	case len(uncovered) > 0:
		return "", fmt.Sprintf("no zone of %s is known for the region %s of the nodes", of, list(uncovered))
	case len(zones) > 1:
		return "", fmt.Sprintf("the nodes are in several zones of %s: %s", of, list(zones))
	}
	return zones[0], ""
}

// targetByRegion returns the target for a cluster whose policies name no provider. A provider without
// a key covers all regions, or the advice says what to do.
func targetByRegion(regions nodeRegions) target {
	advice := func(format string, values ...any) target {
		return target{advice: fmt.Sprintf(format, values...) + ": name a provider in spec.forecast.provider of the CarbonPolicy " + v1alpha1.DefaultPolicy + ", and its zones in spec.locations"}
	}
	if len(regions.names) == 0 {
		return advice("no node has the label %s, which tells where the nodes are", corev1.LabelTopologyRegion)
	}
	for _, name := range regions.names {
		if _, ok := region.Find(name); !ok {
			return advice("the region %q of the nodes is not in Gridlatch's table of regions", name)
		}
	}
	if len(regions.foreign) > 0 {
		return advice("%s", regions.foreignProblem())
	}
	// These have forecasts without a key. An operator of a grid knows its area better than Energy-Charts, which
	// has whole countries.
	for _, of := range []provider.Type{provider.TypeUKCarbonIntensity, provider.TypeEnerginet, provider.TypeEnergyCharts} {
		zones, uncovered := zonesOf(of, regions.names)
		switch {
		case len(uncovered) == 0 && len(zones) == 1:
			return target{source: source{kind: of}, places: []place{{location: zones[0], zone: zones[0]}}}
		case len(uncovered) == 0:
			return advice("the nodes are in several zones of the grid: %s", list(zones))
		}
	}
	return advice("no provider without a key has forecasts for all nodes, which are in %s", list(regions.names))
}

// list names the first few.
func list(names []string) string {
	if len(names) > maxListed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
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

// nodeRegions are the regions of the nodes.
type nodeRegions struct {
	names   []string // in order
	foreign []string // those of the names that have nodes of another cloud than the table's
	nodes   int      // how many nodes there are, with and without a region
}

// foreignProblem says that the table has other regions than those of the nodes, of the same names.
func (r nodeRegions) foreignProblem() string {
	return "spec.providerID of the nodes says that their region " + list(r.foreign) + " is of another cloud than the region of that name in Gridlatch's table"
}

// regions returns the regions of the nodes.
func (e *Exporter) regions(ctx context.Context) (nodeRegions, error) {
	var found corev1.NodeList
	if err := e.Client.List(ctx, &found, client.UnsafeDisableDeepCopy); err != nil {
		return nodeRegions{}, fmt.Errorf("list nodes: %w", err)
	}
	providerIDs := map[string][]string{} // by region
	for i := range found.Items {
		n := &found.Items[i]
		if name := n.Labels[corev1.LabelTopologyRegion]; name != "" {
			providerIDs[name] = append(providerIDs[name], n.Spec.ProviderID)
		}
	}
	regions := nodeRegions{names: slices.Sorted(maps.Keys(providerIDs)), nodes: len(found.Items)}
	for _, name := range regions.names {
		r, ok := region.Find(name)
		if ok && slices.ContainsFunc(providerIDs[name], func(id string) bool { return !r.CanHave(id) }) {
			regions.foreign = append(regions.foreign, name)
		}
	}
	return regions, nil
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
	case err == nil && isOurs(m): // Gridlatch is in the namespace of that ConfigMap
		e.foreign.isWanted = true
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
	var problems []error
	for _, t := range e.advised {
		if _, err := e.write(ctx, t.configMap(), forecast.Document{Message: t.advice}); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
