from pyrt.model.image import ImageConfig


def test_an_image_that_says_nothing_changes_nothing() -> None:
    config = ImageConfig()
    assert (config.env, config.entrypoint, config.cmd, config.user, config.workdir) == ((), (), (), "", "")
    assert not config.fresh_tmp
