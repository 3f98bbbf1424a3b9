package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/goccy/go-yaml"

	"github.com/springtide/springtide"
)

// ImportSOPS reads a file that SOPS has encrypted to an age recipient: YAML, JSON
// or .env, names and values without further levels. The age keys are as
// age-keygen writes them. Other files of SOPS can be decrypted by itself, and
// imported as .env. Errors are of kind Invalid, and Denied if no key fits.
func ImportSOPS(from io.Reader, ageKeys string) (map[springtide.SecretName][]byte, error) {
	text, err := readFile(from)
	if err != nil {
		return nil, err
	}
	identities, err := age.ParseIdentities(strings.NewReader(ageKeys))
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "these are no age keys: %w", err)
	}
	file, err := parseSOPS(text)
	if err != nil {
		return nil, err
	}
	return file.open(identities)
}

// sopsFile is what is of use in such a file.
type sopsFile struct {
	names    []string // in order
	sealed   map[string]string
	modified string
	mac      string
	onlyMAC  bool     // the MAC is of the encrypted values only
	keys     []string // the data key, encrypted to each recipient
}

func parseSOPS(text []byte) (sopsFile, error) {
	file := sopsFile{sealed: map[string]string{}}
	document := dotenv(text)
	if !bytes.Contains(text, []byte("\nsops_mac=")) {
		document = nil
		if err := yaml.UnmarshalWithOptions(text, &document, yaml.UseOrderedMap()); err != nil {
			return file, springtide.Errorf(springtide.Invalid, "this is no file of names and values: %w", err)
		}
	}
	for _, item := range document {
		name, value := fmt.Sprint(item.Key), item.Value
		metadata, isMetadata := value.(yaml.MapSlice)
		switch {
		case name == "sops" && isMetadata:
			file.metadata("", metadata)
		case strings.HasPrefix(name, "sops_"):
			file.field(strings.NewReplacer("__list_", ".", "__map_", ".").Replace(strings.TrimPrefix(name, "sops_")), fmt.Sprint(value))
		default:
			text, ok := scalar(value)
			if !ok {
				return file, springtide.Errorf(springtide.Invalid, "%s has further levels below it", name).
					WithHint("write it as .env first: sops -d --output-type dotenv FILE")
			}
			file.names = append(file.names, name)
			file.sealed[name] = text
		}
	}
	if file.mac == "" || len(file.keys) == 0 {
		return file, springtide.Errorf(springtide.Invalid, "this is no file that SOPS has encrypted to an age recipient").
			WithHint("decrypt it with SOPS itself, and import that")
	}
	return file, nil
}

// dotenv reads lines as SOPS writes them.
func dotenv(text []byte) (document yaml.MapSlice) {
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, found := strings.Cut(line, "="); found && line[0] != '#' {
			document = append(document, yaml.MapItem{Key: name, Value: strings.ReplaceAll(value, `\n`, "\n")})
		}
	}
	return document
}

// scalar gives a value without levels as SOPS counts it into the MAC.
func scalar(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case bool:
		return map[bool]string{true: "True", false: "False"}[value], true
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64), true
	case int64, uint64, int:
		return fmt.Sprint(value), true
	}
	return "", false
}

// metadata takes the fields in, with the path to each.
func (f *sopsFile) metadata(path string, of any) {
	switch of := of.(type) {
	case yaml.MapSlice:
		for _, item := range of {
			f.metadata(strings.TrimPrefix(path+"."+fmt.Sprint(item.Key), "."), item.Value)
		}
	case []any:
		for n, item := range of {
			f.metadata(path+"."+strconv.Itoa(n), item)
		}
	default:
		f.field(path, fmt.Sprint(of))
	}
}

func (f *sopsFile) field(path, value string) {
	switch {
	case path == "lastmodified":
		f.modified = value
	case path == "mac":
		f.mac = value
	case path == "mac_only_encrypted":
		f.onlyMAC = value == "true"
	case strings.HasPrefix(path, "age.") && strings.HasSuffix(path, ".enc"):
		f.keys = append(f.keys, value)
	}
}

// open decrypts the values, and checks that none was changed, added or left out.
func (f *sopsFile) open(identities []age.Identity) (map[springtide.SecretName][]byte, error) {
	dataKey, err := f.dataKey(identities)
	if err != nil {
		return nil, err
	}
	hash := sha512.New()
	if f.onlyMAC {
		first := sha256.Sum256([]byte("sops"))
		hash.Write(first[:])
	}
	values := map[springtide.SecretName][]byte{}
	for _, name := range f.names {
		if err := CheckName(springtide.SecretName(name)); err != nil {
			return nil, err
		}
		plain, encrypted := []byte(f.sealed[name]), strings.HasPrefix(f.sealed[name], "ENC[")
		if encrypted {
			if plain, err = openSOPS(dataKey, f.sealed[name], name+":"); err != nil {
				return nil, springtide.Errorf(springtide.Invalid, "%s: %w", name, err)
			}
		}
		if encrypted || !f.onlyMAC {
			hash.Write(plain)
		}
		values[springtide.SecretName(name)] = plain
	}
	mac, err := openSOPS(dataKey, f.mac, f.modified)
	if err != nil || !hmac.Equal(mac, fmt.Appendf(nil, "%X", hash.Sum(nil))) {
		return nil, springtide.Errorf(springtide.Invalid, "the file was changed after SOPS had encrypted it: its MAC does not fit")
	}
	return values, nil
}

func (f *sopsFile) dataKey(identities []age.Identity) (cipher.Block, error) {
	for _, sealed := range f.keys {
		reader, err := age.Decrypt(armor.NewReader(strings.NewReader(strings.TrimSpace(sealed))), identities...)
		if err != nil {
			continue
		}
		if key, err := io.ReadAll(reader); err == nil && len(key) == 32 {
			return aes.NewCipher(key)
		}
	}
	return nil, springtide.Errorf(springtide.Denied, "the file is encrypted to others than these age keys")
}

// openSOPS decrypts ENC[AES256_GCM,data:…,iv:…,tag:…,type:…].
func openSOPS(block cipher.Block, sealed, about string) ([]byte, error) {
	inner, found := strings.CutPrefix(sealed, "ENC[AES256_GCM,")
	inner, closed := strings.CutSuffix(inner, "]")
	parts := map[string][]byte{}
	for field := range strings.SplitSeq(inner, ",") {
		name, text, _ := strings.Cut(field, ":")
		parts[name], _ = base64.StdEncoding.DecodeString(text) // what is wrong does not open
	}
	if !found || !closed || len(parts["iv"]) == 0 || len(parts["tag"]) != 16 {
		return nil, fmt.Errorf("%.40q is not encrypted as SOPS does it", sealed)
	}
	aead, err := cipher.NewGCMWithNonceSize(block, len(parts["iv"]))
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, parts["iv"], bytes.Join([][]byte{parts["data"], parts["tag"]}, nil), []byte(about))
}
