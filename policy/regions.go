package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// selectRegions gives each location without a nodeSelector the nodes of the cloud region that is in
// the zone of the location. The policy must have a provider, since a zone is a name of a provider's.
func (p *Policy) selectRegions(ctx context.Context, nodes *Nodes) {
	provider := p.spec.Forecast.Provider
	if provider == nil {
		return
	}
	locations := slices.Clone(p.spec.Locations) // the spec is the cache's
	p.spec.Locations = locations
	for i, l := range locations {
		if len(l.NodeSelector) > 0 {
			continue
		}
		found := nodes.regionsIn(ctx, zone{provider.Type, cmp.Or(l.Zone, l.Name)})
		if len(found) == 0 {
			continue
		}
		locations[i].NodeSelector = map[string]string{corev1.LabelTopologyRegion: found[0]}
		if p.shadowedBy(i) != "" { // another location has these nodes
			locations[i].NodeSelector = nil
			continue
		}
		if len(found) > 1 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("spec.locations[%d]: nodes of several regions are in the zone of location %q (%s), and Gridlatch chooses those of %s only: write a nodeSelector to choose others",
				i, l.Name, strings.Join(found, ", "), found[0]))
		}
	}
}
