package policy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/region"
	"github.com/gridlatch/gridlatch/forecast"
)

// FindLocation returns the location that a name stands for: a location of the policy, or a location
// whose nodes are in the cloud region of that name, or a location whose zone is that of the region by
// the table of regions. Where the policy names no locations, those of the forecast count. The empty
// name stays empty. The error says which locations there are.
func (p *Policy) FindLocation(snapshot *forecast.Snapshot, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	err := p.CheckLocation(snapshot, name)
	if err == nil {
		return name, nil
	}
	if i := slices.IndexFunc(p.spec.Locations, func(l v1alpha1.Location) bool { return l.NodeSelector[corev1.LabelTopologyRegion] == name }); i >= 0 {
		return p.spec.Locations[i].Name, nil
	}
	if r, ok := region.Find(name); ok {
		if location, ok := p.locationIn(snapshot, r); ok {
			return location, nil
		}
	}
	return name, err
}

// locationIn returns the first location that is in the same zone as a region of a cloud. A policy that
// names a provider has the zones of that provider. Otherwise the zones of any provider count.
func (p *Policy) locationIn(snapshot *forecast.Snapshot, r region.Region) (string, bool) {
	isIn := func(zone string) bool {
		if zone == "" {
			return false
		}
		if provider := p.spec.Forecast.Provider; provider != nil {
			return r.IsIn(provider.Type, zone)
		}
		for _, known := range r.Zones {
			if known == zone {
				return true
			}
		}
		return false
	}
	for _, l := range p.spec.Locations {
		if isIn(l.Zone) || l.Zone == "" && isIn(l.Name) {
			return l.Name, true
		}
	}
	if len(p.spec.Locations) > 0 {
		return "", false
	}
	if i := slices.IndexFunc(snapshot.Locations(), isIn); i >= 0 {
		return snapshot.Locations()[i], true
	}
	return "", false
}
