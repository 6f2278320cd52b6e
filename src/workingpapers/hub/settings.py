"""Settings of the site alone, from `WORKINGPAPERS_*` variables. Those it shares with the lab are in `lab.settings`."""

from __future__ import annotations

import datetime as dt

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .guard import LOCAL_HOSTS


class HubSettings(BaseSettings):
    """Settings of the site.

    Attributes:
        hosts: names, parted by commas, under which it may be reached besides localhost. `WORKINGPAPERS_HOSTS`.
        base_url: address in mails and feeds; empty takes that of the request, or localhost. `WORKINGPAPERS_BASE_URL`.
        proxies: addresses or networks (`10.0.0.0/8`), parted by commas, whose `X-Forwarded-For` is believed. `WORKINGPAPERS_PROXIES`.
        signup: whether an address without an account may make one by mail link; else admins make them. `WORKINGPAPERS_SIGNUP`.
        zone: time zone of the site's days. `WORKINGPAPERS_ZONE`.
        trend_start: T0 of the trending formula; never change it on a site that has events. `WORKINGPAPERS_TREND_START`.
        embedder: model of the search: `auto`, `off`, `onnx`, `torch`, or `module:function` that gives an `Embedder`.
            `WORKINGPAPERS_EMBEDDER`.
        smtp_host: mail server; empty writes `.eml` files to the outbox in the data directory. `WORKINGPAPERS_SMTP_HOST`.
        smtp_port, smtp_user, smtp_password, smtp_tls: how to reach it; `smtp_tls` is `none`, `starttls` or `tls`.
        mail_from: sender of all mail; its domain stands in Message-IDs. `WORKINGPAPERS_MAIL_FROM`.
    """

    model_config = SettingsConfigDict(env_prefix="WORKINGPAPERS_", extra="ignore")

    hosts: str = Field("", description="names parted by commas")
    base_url: str = ""
    proxies: str = ""
    signup: bool = True
    zone: str = "UTC"
    trend_start: dt.datetime = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    embedder: str = Field("auto", pattern=r"^(auto|off|onnx|torch|[\w.]+:\w+)$")
    smtp_host: str = ""
    smtp_port: int = Field(25, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_tls: str = Field("none", pattern="^(none|starttls|tls)$")
    mail_from: str = "Working Papers <papers@localhost>"

    @property
    def address(self) -> str:
        """Where the site is to be found, for mails: without a slash at the end."""
        return self.base_url.rstrip("/") or "http://127.0.0.1:8000"

    def trusted(self) -> tuple[str, ...]:
        """Addresses or networks of our own proxies."""
        return tuple(p.strip() for p in self.proxies.split(",") if p.strip())

    def allowed(self) -> tuple[str, ...]:
        """All names under which the site answers."""
        return (*LOCAL_HOSTS, *(h.strip() for h in self.hosts.split(",") if h.strip()))
