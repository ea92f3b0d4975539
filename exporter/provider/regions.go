package provider

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// regionsTable has a row for each region. The place is the one that the cloud names, the
// coordinates are those of the place's centre, and the zones are of our own choice.
//
//go:embed regions.csv
var regionsTable string

// Region is a region of a cloud: what nodes have in the label topology.kubernetes.io/region.
type Region struct {
	// Cloud is aws, gcp or azure.
	Cloud, Name string
	Place       string
	// Country is the code of ISO 3166-1 with two letters.
	Country             string
	Latitude, Longitude float64
	// Zones has the zone of each provider that is known to cover the region.
	Zones map[Type]string
}

// Regions returns all known regions, by cloud and name.
func Regions() ([]Region, error) {
	rows, err := csv.NewReader(strings.NewReader(regionsTable)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("table of regions: %w", err)
	}
	const firstZone = 6
	regions := make([]Region, 0, len(rows))
	for _, row := range rows[1:] {
		r := Region{Cloud: row[0], Name: row[1], Place: row[2], Country: row[3], Zones: map[Type]string{}}
		if r.Latitude, err = strconv.ParseFloat(row[4], 64); err != nil {
			return nil, fmt.Errorf("table of regions: %s: latitude: %w", r.Name, err)
		}
		if r.Longitude, err = strconv.ParseFloat(row[5], 64); err != nil {
			return nil, fmt.Errorf("table of regions: %s: longitude: %w", r.Name, err)
		}
		for i := firstZone; i < len(row); i++ {
			if row[i] != "" {
				r.Zones[Type(rows[0][i])] = row[i]
			}
		}
		regions = append(regions, r)
	}
	slices.SortFunc(regions, func(a, b Region) int { return strings.Compare(a.Cloud+"/"+a.Name, b.Cloud+"/"+b.Name) })
	return regions, nil
}
