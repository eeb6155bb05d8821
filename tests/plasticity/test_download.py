"""Archives that are downloaded, or that cannot be."""

import functools
import http.server
import json
import socket
import threading

import pytest

from plasticity.data import DataError, archives
from plasticity.data.prepare import prepare
from tests.archives import left_behind


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files; of each no more than so many bytes, whatever its headers say."""

    most = None

    def copyfile(self, source, outputfile):
        outputfile.write(source.read(self.most))


@pytest.fixture
def published(tiny, tmp_path):
    """Omniglot, small, as a server on this machine publishes it."""
    handler = functools.partial(Handler, directory=tmp_path / "archives")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{{}}"
        all_of_them = [
            archive._replace(
                url=url.format(archive.name),
                sha256=archives.verify(tmp_path / "archives" / archive.name, archive, True),
            )
            for archive in tiny["omniglot"].archives
        ]
        yield tiny["omniglot"]._replace(archives=tuple(all_of_them))
        server.shutdown()


def test_archives_are_downloaded_from_where_they_are_published(published):
    folder, reused = prepare(published, None, accept_other=False)
    assert not reused
    assert json.loads((folder / "manifest.json").read_text())["official"] is True
    assert prepare(published, None, accept_other=False) == (folder, True)


@pytest.mark.parametrize("accept_other", [False, True])
def test_a_download_that_is_cut_short_leaves_nothing(
    published, accept_other, monkeypatch, tmp_path
):
    monkeypatch.setattr(Handler, "most", 1000)
    with pytest.raises(DataError, match=r"cannot download .*/images_\w+.zip: .* 1000 of \d+ bytes"):
        prepare(published, None, accept_other)
    assert left_behind(tmp_path) == []
    monkeypatch.setattr(Handler, "most", None)
    assert prepare(published, None, accept_other)[1] is False


def test_a_download_of_something_else_is_not_kept(published, tmp_path):
    """Unless it is accepted; nor is one that was accepted when that is not said any more."""
    first, second = published.archives
    other = published._replace(archives=(first._replace(sha256="0" * 64), second))
    for _ in range(2):
        with pytest.raises(DataError, match=r"not 000000000000.* --accept_other_archives.*again"):
            prepare(other, None, accept_other=False)
        assert not any(path.name == first.name for path in left_behind(tmp_path))
    folder, _ = prepare(other, None, accept_other=True)
    assert json.loads((folder / "manifest.json").read_text())["official"] is False
    assert prepare(published, None, accept_other=False)[0] == folder


def test_a_server_that_is_none_is_told(tiny, tmp_path):
    """What answers in another language than HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.zip"

        def answer():
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"220 no such thing\r\n")

        threading.Thread(target=answer, daemon=True).start()
        strange = [a._replace(url=url) for a in tiny["omniglot"].archives]
        with pytest.raises(DataError, match=r"cannot download http://127.0.0.1:\d+/x.zip: 220 no"):
            prepare(tiny["omniglot"]._replace(archives=tuple(strange)), None, accept_other=False)
    assert left_behind(tmp_path) == []


def test_no_network_is_told(tiny, tmp_path):
    dead = [a._replace(url="http://127.0.0.1:9/x.zip") for a in tiny["omniglot"].archives]
    with pytest.raises(
        DataError, match=r"cannot download http://127.0.0.1:9/x.zip.*--archives=DIR"
    ):
        prepare(tiny["omniglot"]._replace(archives=tuple(dead)), None, accept_other=False)
