package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/exporter/region"
)

func newZones(e env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "zones [REGION|ZONE|CLOUD|COUNTRY|PLACE]",
		Short: "Show the zone of the grid for each region of the clouds",
		Long: `Show the zone of the grid in which each region of AWS, Google Cloud and Azure is, as
each provider names the zone. The table is Gridlatch's own, and nobody is asked.

A dash means that the provider does not cover the region, or that the table does not
have the zone. Nodes of a cluster have their region in the label
topology.kubernetes.io/region.

energy-charts, uk-carbon-intensity and energinet need no key.`,
		Example: `  # In which zone is Frankfurt?
  kubectl gridlatch zones eu-central-1

  # Which regions are in the German zone, which in Sweden, and which of Azure are there?
  kubectl gridlatch zones DE
  kubectl gridlatch zones SE
  kubectl gridlatch zones azure -o json`,
		Args: func(cmd *cobra.Command, args []string) error { return noArguments(cmd, args[min(len(args), 1):]) },
		RunE: func(_ *cobra.Command, args []string) error { return showZones(e, strings.Join(args, ""), output) },
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeRegions(cmd, args, typed)
		},
	}
	bindOutput(cmd, &output)
	return cmd
}

func showZones(e env, wanted, output string) error {
	if err := wantOutput(output, "yaml"); err != nil {
		return err
	}
	all, err := region.All()
	if err != nil {
		return err
	}
	found := filterRegions(all, wanted)
	if len(found) == 0 {
		return usageError{fmt.Errorf("%q: %w", wanted, unknownRegion(all, wanted))}
	}
	if output != "" {
		return e.print(output, reportsOf(found))
	}
	table := e.stdout.Table(2)
	header := []any{"CLOUD", "REGION", "PLACE"}
	for _, p := range providersByName() {
		if p.hasZones {
			header = append(header, strings.ToUpper(p.name))
		}
	}
	table.Row(header...)
	for _, r := range found {
		row := []any{r.Cloud, r.Name, r.Place + ", " + r.Country}
		for _, p := range providersByName() {
			if p.hasZones {
				row = append(row, cmp.Or(r.Zones[string(p.kind)], "-"))
			}
		}
		table.Row(row...)
	}
	table.Flush()
	return nil
}

// filterRegions returns the regions that an argument means: the one of that name, or those in the
// zone, or those of the cloud or the country, or those whose name or place has the text.
func filterRegions(all []region.Region, wanted string) []region.Region {
	for _, matches := range []func(region.Region) bool{
		func(r region.Region) bool { return wanted == "" || strings.EqualFold(r.Name, wanted) },
		func(r region.Region) bool {
			for _, zone := range r.Zones {
				if strings.EqualFold(zone, wanted) {
					return true
				}
			}
			return strings.EqualFold(r.Cloud, wanted) || strings.EqualFold(r.Country, wanted)
		},
		func(r region.Region) bool {
			return strings.Contains(strings.ToLower(r.Name+"\n"+r.Place), strings.ToLower(wanted))
		},
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(r region.Region) bool { return !matches(r) })
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// A regionReport is a region as JSON and YAML have it. The keys of the zones are the types of
// providers in a CarbonPolicy.
type regionReport struct {
	Cloud     string            `json:"cloud"`
	Region    string            `json:"region"`
	Place     string            `json:"place"`
	Country   string            `json:"country"`
	Latitude  float64           `json:"latitude"`
	Longitude float64           `json:"longitude"`
	Zones     map[string]string `json:"zones"`
}

func reportsOf(regions []region.Region) []regionReport {
	reports := make([]regionReport, len(regions))
	for i, r := range regions {
		reports[i] = regionReport{r.Cloud, r.Name, r.Place, r.Country, r.Latitude, r.Longitude, r.Zones}
	}
	return reports
}
