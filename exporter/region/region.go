// Package region tells in which zone of the grid a region of a cloud is.
//
// The table is Gridlatch's own. The place of a region is the place that the cloud names, or the
// largest town near if the cloud names a country or a state only. The coordinates are those of the
// place's centre. The zones are of our own choice, and a zone that is in doubt is left out. A test
// lists where public tables are wrong.
package region

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// table has a row for each region.
//
//go:embed regions.csv
var table string

// Region is a region of a cloud: what nodes have in the label topology.kubernetes.io/region.
type Region struct {
	// Cloud is aws, gcp or azure.
	Cloud, Name string
	Place       string
	// Country is the code of ISO 3166-1 with two letters.
	Country             string
	Latitude, Longitude float64
	// Zones has the zone of the region by provider, for the providers that cover the region. The keys
	// are the types of providers in a CarbonPolicy, such as EnergyCharts.
	Zones map[string]string
}

// All returns all known regions, by cloud and name.
func All() ([]Region, error) {
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("table of regions: %w", err)
	}
	const firstZone = 6
	regions := make([]Region, 0, len(rows))
	for _, row := range rows[1:] {
		r := Region{Cloud: row[0], Name: row[1], Place: row[2], Country: row[3], Zones: map[string]string{}}
		if r.Latitude, err = strconv.ParseFloat(row[4], 64); err != nil {
			return nil, fmt.Errorf("table of regions: %s: latitude: %w", r.Name, err)
		}
		if r.Longitude, err = strconv.ParseFloat(row[5], 64); err != nil {
			return nil, fmt.Errorf("table of regions: %s: longitude: %w", r.Name, err)
		}
		for i := firstZone; i < len(row); i++ {
			if row[i] != "" {
				r.Zones[rows[0][i]] = row[i]
			}
		}
		regions = append(regions, r)
	}
	slices.SortFunc(regions, func(a, b Region) int { return strings.Compare(a.Cloud+"/"+a.Name, b.Cloud+"/"+b.Name) })
	return regions, nil
}

// Find returns the region with a name, which is what nodes have in the label
// topology.kubernetes.io/region. No two clouds of the table have a region of the same name. Other
// clouds do have regions of these names, in other countries: see [Region.CanHave].
func Find(name string) (Region, bool) {
	regions := known()
	i := slices.IndexFunc(regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return regions[i], true
}

// CanHave reports whether a node may be in the region, by the spec.providerID of the node. The
// labels of nodes do not tell: eu-west-1 is Dublin at AWS and London at Alibaba Cloud, and both name
// a zone eu-west-1a. A node without a providerID is believed, because no cloud runs the node, and
// the owner of the cluster has written the label.
func (r Region) CanHave(providerID string) bool {
	// Outscale's eu-west-2 is Paris, and Outscale's nodes may have a providerID as AWS's do. But the
	// identifiers of Outscale's machines have eight digits, and those of AWS's have more.
	const ofOutscale = len("i-12345678")
	scheme, rest, _ := strings.Cut(providerID, "://")
	switch {
	case providerID == "":
		return true
	case r.Cloud == "aws":
		return scheme == "aws" && len(rest)-strings.LastIndexByte(rest, '/')-1 > ofOutscale
	case r.Cloud == "gcp":
		return scheme == "gce"
	default:
		return scheme == r.Cloud
	}
}

// InZone returns the regions in a zone of a provider, by cloud and name. The provider is named as a
// CarbonPolicy does, such as EnergyCharts.
func InZone(provider, zone string) []Region {
	return slices.DeleteFunc(known(), func(r Region) bool { return !r.IsIn(provider, zone) })
}

// IsIn reports whether the region is in a zone of a provider. The price areas of Denmark have two names at
// Energinet: DK2 and DK-DK2.
func (r Region) IsIn(provider, zone string) bool {
	if provider == "Energinet" {
		zone = strings.TrimPrefix(zone, "DK-")
	}
	return zone != "" && r.Zones[provider] == zone
}

// known returns all regions. The table is a part of the program, and a test reads the table: a table
// that cannot be read has no regions here.
func known() []Region {
	regions, _ := All()
	return regions
}
