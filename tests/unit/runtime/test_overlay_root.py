from pyrt.runtime.overlay_root import ExtraLayer, OverlayRoot, RootFile


def test_equal_roots_are_one_key() -> None:
    one = OverlayRoot(("/",), (ExtraLayer("/var", "/var"),), (RootFile("/etc/hosts", b""),))
    two = OverlayRoot(("/",), (ExtraLayer("/var", "/var"),), (RootFile("/etc/hosts", b""),))
    assert len({one, two}) == 1
