package backup

import (
	"bufio"
	"errors"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/springtide/springtide"
)

// sealWindow bounds how far back compression looks, and with it the memory that
// sealing and opening take, in bytes.
const sealWindow = 1 << 20

// sealedBegin is the first line of what is sealed, before the object's name.
const sealedBegin = "springtide backup 1 "

// seal gives a writer whose content is compressed and sealed under a name into
// to. It must be closed.
func seal(to io.Writer, name string, recipients []age.Recipient) (io.WriteCloser, error) {
	sealed, err := age.Encrypt(to, recipients...)
	if err != nil {
		return nil, springtide.Errorf(springtide.Internal, "nothing can be sealed: %w", err)
	}
	packed, err := zstd.NewWriter(sealed, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(sealWindow), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(packed, sealedBegin+name+"\n"); err != nil {
		return nil, err
	}
	return sealing{packed, sealed}, nil
}

type sealing struct {
	io.WriteCloser
	sealed io.Closer
}

func (s sealing) Close() error { return errors.Join(s.WriteCloser.Close(), s.sealed.Close()) }

// unseal reads what was sealed under the name. A key that does not fit is an
// error of kind Denied, anything that is not what was sealed one of kind Failed;
// either may come only when what is before it has been read.
func unseal(from io.Reader, name string, identities []age.Identity) (io.ReadCloser, error) {
	sealed, err := age.Decrypt(from, identities...)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return nil, springtide.Errorf(springtide.Denied, "the key does not open %s: it was sealed for another", name).
			WithHint("give the recovery key that was shown when this platform was installed")
	}
	if err != nil {
		return nil, damaged(name, err)
	}
	packed, err := zstd.NewReader(sealed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(sealWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	plain := bufio.NewReader(packed)
	for _, want := range []byte(sealedBegin + name + "\n") {
		got, err := plain.ReadByte()
		if err == nil && got != want {
			err = errors.New("something else was sealed under another name")
		}
		if err != nil {
			packed.Close()
			return nil, damaged(name, err)
		}
	}
	return unsealing{plain, packed, name}, nil
}

type unsealing struct {
	plain  *bufio.Reader
	packed *zstd.Decoder
	name   string
}

func (u unsealing) Read(p []byte) (int, error) {
	n, err := u.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(u.name, err)
	}
	return n, err
}

func (u unsealing) Close() error {
	u.packed.Close()
	return nil
}

// damaged keeps what is known of an error already.
func damaged(name string, err error) error {
	if known, ok := errors.AsType[*springtide.Error](err); ok {
		return known
	}
	return springtide.Errorf(springtide.Failed, "%s is not what was put there: %w", name, err)
}
