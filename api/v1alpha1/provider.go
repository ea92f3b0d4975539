package v1alpha1

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// ForecastProvider says who knows the grid, and how to ask.
//
// +union
// +kubebuilder:validation:XValidation:rule="has(self.http) == (self.type == 'HTTP')",message="must have http if the type is HTTP, and only then"
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) || !(self.type in ['ElectricityMaps', 'WattTime'])",message="must have secretRef: this provider needs a key"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || self.type in ['ElectricityMaps', 'WattTime', 'CarbonAwareSDK', 'HTTP']",message="must have no secretRef: this provider needs no key"
// +kubebuilder:validation:XValidation:rule="has(self.baseURL) || self.type != 'CarbonAwareSDK'",message="must have baseURL: the address of your WebApi of the Carbon Aware SDK"
// +kubebuilder:validation:XValidation:rule="!has(self.baseURL) || !(self.type in ['HTTP', 'Mock'])",message="must have no baseURL: HTTP has its URLs in http, and Mock asks nobody"
// +kubebuilder:validation:XValidation:rule="!has(self.signal) || !has(self.signal.kind) || self.signal.kind == 'Average' || self.type in ['WattTime', 'CarbonAwareSDK', 'HTTP', 'Mock']",message="must have signal.kind Average: this provider has no marginal intensities"
// +kubebuilder:validation:XValidation:rule="!has(self.signal) || !has(self.signal.emissionFactors) || self.type != 'EnergyCharts'",message="must have no signal.emissionFactors: this provider does not say whether its intensities are life-cycle or direct"
// +kubebuilder:validation:XValidation:rule="!has(self.signal) || !has(self.signal.emissionFactors) || self.signal.emissionFactors == 'Direct' || !(self.type in ['WattTime', 'UKCarbonIntensity', 'Energinet'])",message="must have signal.emissionFactors Direct: this provider has no life-cycle intensities"
type ForecastProvider struct {
	// type names the provider. UKCarbonIntensity (Great Britain), Energinet (Denmark), EnergyCharts
	// (most of Europe) and GridCarbon (the past only) need no key. ElectricityMaps and WattTime need one.
	// CarbonAwareSDK is a WebApi of your own, HTTP is a URL of your own, and Mock makes up its values,
	// for trying.
	// +required
	// +unionDiscriminator
	// +kubebuilder:validation:Enum=ElectricityMaps;WattTime;UKCarbonIntensity;EnergyCharts;Energinet;GridCarbon;CarbonAwareSDK;HTTP;Mock
	Type string `json:"type"`
	// secretRef names the Secret with the key of the provider, in the namespace of Gridlatch. The
	// Secret has the key under key or, for WattTime, the user under username and the password under
	// password.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`
	// baseURL is the address of the provider, if Gridlatch asks through a gateway or asks a server of
	// your own, such as https://gateway.example.com/electricity-maps/v4.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	BaseURL string `json:"baseURL,omitempty"`
	// signal is the kind of intensity to ask for or, for CarbonAwareSDK and HTTP, the kind that your
	// server has. The default is the usual one of the provider. Another kind begins a new history:
	// intensities of two kinds are never compared.
	// +optional
	Signal *Signal `json:"signal,omitempty"`
	// http says how to ask a URL of your own. The type is HTTP then.
	// +optional
	// +unionMember=HTTP
	HTTP *HTTPProvider `json:"http,omitempty"`
}

// WeatherSource is who knows the weather.
//
// +kubebuilder:validation:XValidation:rule="(self.type == 'HTTP') == has(self.url)",message="must have url with the type HTTP, and with no other type"
// +kubebuilder:validation:XValidation:rule="self.type != 'OpenMeteo' || has(self.secretRef) || has(self.baseURL) || (has(self.acceptNonCommercial) && self.acceptNonCommercial)",message="the free service of OpenMeteo is for uses that are not commercial: must have acceptNonCommercial: true, or secretRef, or baseURL"
type WeatherSource struct {
	// type names the source. METNorway covers the Earth, needs no key, and allows commercial use.
	// OpenMeteo also has the weather of the last three months, so that Gridlatch learns from them at
	// once. HTTP is a URL of your own.
	// +required
	// +unionDiscriminator
	// +kubebuilder:validation:Enum=METNorway;OpenMeteo;HTTP
	Type string `json:"type"`
	// secretRef names the Secret with the key of OpenMeteo or of your server, under key, in the
	// namespace of Gridlatch.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`
	// baseURL is the address of the source, if Gridlatch asks through a gateway or asks a server of
	// your own.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	BaseURL string `json:"baseURL,omitempty"`
	// acceptNonCommercial says that your use is not commercial. The free service of OpenMeteo is for such
	// uses only.
	// +optional
	AcceptNonCommercial bool `json:"acceptNonCommercial,omitempty"`
	// url is for the type HTTP. It answers with CSV that has the columns timestamp, wind_speed_10m (in
	// m/s), temperature_2m (in degrees Celsius) and shortwave_radiation (in W/m2), or with what MET
	// Norway or Open-Meteo answer. The CSV may also have the columns wind_share and solar_share, which
	// renewables explains: 0.4 is 40 %. {zone} stands for the zone.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+([/?][^#\s]*)?$`
	URL string `json:"url,omitempty"`
}

// RenewablesSource is whose forecast of wind and solar power counts.
//
// +kubebuilder:validation:XValidation:rule="!has(self.baseURL) || (has(self.type) && self.type != 'Auto')",message="must have a type other than Auto with baseURL"
type RenewablesSource struct {
	// type names who publishes the forecasts of the operators of the grid. None of them needs a key.
	// EnergyCharts covers most of Europe, Energinet Denmark, and Elexon Great Britain. Auto is the one
	// of them that covers the location. For a location that nobody covers, Auto asks nobody.
	// +optional
	// +kubebuilder:default=Auto
	// +kubebuilder:validation:Enum=Auto;EnergyCharts;Energinet;Elexon
	Type string `json:"type,omitempty"`
	// baseURL is the address to ask, if Gridlatch asks through a gateway or asks a server of your own.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	BaseURL string `json:"baseURL,omitempty"`
}

// ActualsSource is who else knows how the intensity was.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.baseURL) || has(self.zone)) || (has(self.type) && self.type != 'Auto')",message="must have a type other than Auto with baseURL or zone"
type ActualsSource struct {
	// type names a provider that needs no key. EnergyCharts covers most of Europe, UKCarbonIntensity
	// Great Britain, and Energinet Denmark. GridCarbon is a server of your own at baseURL. Auto is the one
	// that covers the location. For a location that none covers, Auto asks nobody.
	// +optional
	// +kubebuilder:default=Auto
	// +kubebuilder:validation:Enum=Auto;EnergyCharts;UKCarbonIntensity;Energinet;GridCarbon
	Type string `json:"type,omitempty"`
	// baseURL is the address to ask, if Gridlatch asks through a gateway or asks a server of your own.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	BaseURL string `json:"baseURL,omitempty"`
	// zone is the name that the second source has for the locations of the policy. By default it is the
	// area in which the zone of the location is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Zone string `json:"zone,omitempty"`
}

// WeatherPoint is a place on Earth, in degrees with up to four decimals.
type WeatherPoint struct {
	// latitude is from -90 to 90, such as "54.31". North is positive.
	// +required
	// +kubebuilder:validation:MaxLength=9
	// +kubebuilder:validation:Pattern=`^-?(90([.]0{1,4})?|[0-8]?[0-9]([.][0-9]{1,4})?)$`
	Latitude string `json:"latitude"`
	// longitude is from -180 to 180, such as "9.66". East is positive.
	// +required
	// +kubebuilder:validation:MaxLength=9
	// +kubebuilder:validation:Pattern=`^-?(180([.]0{1,4})?|(1[0-7]|[0-9])?[0-9]([.][0-9]{1,4})?)$`
	Longitude string `json:"longitude"`
}

// SecretReference names a Secret in the namespace of Gridlatch.
type SecretReference struct {
	// name is the name of the Secret. The Role gridlatch-export lists the names that Gridlatch may
	// read.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
}

// Signal is a kind of intensity.
type Signal struct {
	// kind is Average (the emissions of all electricity of the zone) or Marginal (the emissions of the
	// power plants that answer to one more kilowatt-hour).
	// +optional
	// +kubebuilder:validation:Enum=Average;Marginal
	Kind string `json:"kind,omitempty"`
	// emissionFactors is LifeCycle (the plant, its fuel and its waste) or Direct (what leaves the
	// chimney).
	// +optional
	// +kubebuilder:validation:Enum=LifeCycle;Direct
	EmissionFactors string `json:"emissionFactors,omitempty"`
}

// HTTPProvider is a URL of one's own. The URL answers with the JSON array of a carbon-intensity
// exporter, with what another provider answers, or with CSV that has the columns timestamp and
// intensity.
//
// +kubebuilder:validation:XValidation:rule="has(self.forecastURL) || has(self.pastURL)",message="must have forecastURL or pastURL, or both"
type HTTPProvider struct {
	// forecastURL answers with the forecast of a zone. {zone} stands for the zone.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+([/?][^#\s]*)?$`
	ForecastURL string `json:"forecastURL,omitempty"`
	// pastURL answers with the past of a zone. {zone} stands for the zone, and {from} and {to} for the
	// two instants.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+([/?][^#\s]*)?$`
	PastURL string `json:"pastURL,omitempty"`
	// keyHeader is the header for the key in the Secret. The default is Authorization, with the key
	// as a bearer token.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	KeyHeader string `json:"keyHeader,omitempty"`
	// attribution is the sentence that the licence of the data demands wherever the data is shown.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Attribution string `json:"attribution,omitempty"`
}

// maxObjectName is the length of the longest name that an object can have.
const maxObjectName = 253

// ForecastConfigMap returns the name of the ConfigMap, in the namespace of Gridlatch, to which
// Gridlatch writes what the provider of a policy says. The empty name stands for the forecast by the
// region of the nodes. A name that would be too long is cut, and ends with a digest of the policy's
// name.
func ForecastConfigMap(policy string) string {
	const prefix = "carbon-intensity"
	if policy == "" {
		return prefix
	}
	name := prefix + "-" + policy
	if len(name) <= maxObjectName {
		return name
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(policy)) // it never fails
	digest := fmt.Sprintf("-%016x", h.Sum64())
	return strings.TrimRight(name[:maxObjectName-len(digest)], "-.") + digest
}
