package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/exporter/region"
)

// A providerName is what a provider is called on the command line.
type providerName struct {
	name string
	kind provider.Type
	// hasZones says that the table of regions has the zones of the provider. The other providers
	// take any name.
	hasZones bool
	// isFree says that the provider needs no key.
	isFree bool
}

// providersByName are in the order in which the help names them: those that need no key come first,
// and among them those with forecasts.
func providersByName() []providerName {
	return []providerName{
		{"energy-charts", provider.TypeEnergyCharts, true, true},
		{"uk-carbon-intensity", provider.TypeUKCarbonIntensity, true, true},
		{"energinet", provider.TypeEnerginet, true, true},
		{"grid-carbon", provider.TypeGridCarbon, false, true},
		{"electricity-maps", provider.TypeElectricityMaps, true, false},
		{"watttime", provider.TypeWattTime, true, false},
		{"carbon-aware-sdk", provider.TypeCarbonAwareSDK, false, false},
		{"http", provider.TypeHTTP, false, false},
		{"mock", provider.TypeMock, false, false},
	}
}

func providerNames() []string {
	var names []string
	for _, p := range providersByName() {
		names = append(names, p.name)
	}
	return names
}

// nameOf returns what a provider is called on the command line.
func nameOf(kind provider.Type) string {
	for _, p := range providersByName() {
		if p.kind == kind {
			return p.name
		}
	}
	return string(kind)
}

// parseProvider reads the name of a provider: energy-charts, or EnergyCharts as in a CarbonPolicy.
func parseProvider(text string) (providerName, error) {
	for _, p := range providersByName() {
		if strings.EqualFold(text, p.name) || strings.EqualFold(text, string(p.kind)) {
			return p, nil
		}
	}
	return providerName{}, wrong("provider", text, errors.New("want one of "+strings.Join(providerNames(), ", ")))
}

// resolve returns the provider and the zone that the flags mean.
func (f *providerFlags) resolve() (kind provider.Type, zone string, err error) {
	switch {
	case f.zone != "" && f.region != "":
		return "", "", usageError{errors.New("want --zone or --region, not both")}
	case f.name == "" && f.region == "":
		return "", "", usageError{errors.New("want --provider and --zone, such as --provider energy-charts --zone DE; or --region, such as --region eu-central-1")}
	case f.name == "":
		return f.resolveRegion()
	}
	p, err := parseProvider(f.name)
	switch {
	case err != nil:
		return "", "", err
	case f.zone != "":
		return p.kind, f.zone, nil
	case f.region == "":
		return "", "", usageError{fmt.Errorf("--zone is needed: want a zone as %s names it, or --region with a region of a cloud; see: kubectl gridlatch zones", p.name)}
	case !p.hasZones:
		return p.kind, f.region, nil
	}
	r, err := findRegion(f.region)
	if err != nil {
		return "", "", err
	}
	if zone = r.Zones[string(p.kind)]; zone == "" {
		return "", "", wrong("region", f.region, fmt.Errorf("%s has no zone for this region: want --provider %s", p.name, strings.Join(covering(r, false), " or ")))
	}
	return p.kind, zone, nil
}

// resolveRegion returns a provider that covers the region and needs no key. Of several it is the last one,
// which has fewer areas and knows them better: energy-charts has Denmark as a whole.
func (f *providerFlags) resolveRegion() (kind provider.Type, zone string, err error) {
	r, err := findRegion(f.region)
	if err != nil {
		return "", "", err
	}
	free := covering(r, true)
	if len(free) == 0 {
		return "", "", wrong("region", f.region, fmt.Errorf("no provider without a key covers this region: want --provider %s", strings.Join(covering(r, false), " or ")))
	}
	p, err := parseProvider(free[len(free)-1])
	return p.kind, r.Zones[string(p.kind)], err
}

// covering returns the names of the providers that cover a region: all, or those that need no key.
// Where no provider does, a server of one's own remains.
func covering(r region.Region, onlyFree bool) []string {
	var names []string
	for _, p := range providersByName() {
		if r.Zones[string(p.kind)] != "" && (p.isFree || !onlyFree) {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 && !onlyFree {
		names = []string{"http"}
	}
	return names
}

// findRegion returns the region of a name.
func findRegion(name string) (region.Region, error) {
	regions, err := region.All()
	if err != nil {
		return region.Region{}, err
	}
	for _, r := range regions {
		if strings.EqualFold(r.Name, name) {
			return r, nil
		}
	}
	return region.Region{}, wrong("region", name, unknownRegion(regions, name))
}

// unknownRegion says that there is no such region, and which names are near.
func unknownRegion(regions []region.Region, name string) error {
	if near := nearNames(regions, name); len(near) > 0 {
		return fmt.Errorf("is not known: did you mean %s?", strings.Join(near, " or "))
	}
	return errors.New("is not known; see: kubectl gridlatch zones")
}

// nearNames returns the names of regions that are spelled like a name. Cobra finds them, as for
// commands.
func nearNames(regions []region.Region, name string) []string {
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, r := range regions {
		names.AddCommand(&cobra.Command{Use: r.Name, Run: func(*cobra.Command, []string) {}})
	}
	return names.SuggestionsFor(name)
}

// completeRegions offers a shell the names of all regions.
func completeRegions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	regions, err := region.All()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(regions))
	for i, r := range regions {
		names[i] = r.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
