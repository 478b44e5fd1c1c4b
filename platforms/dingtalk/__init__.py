"""DingTalk beside its sender: the stream that brings messages in, and the session webhooks."""

KIND = "dingtalk"
API_BASE = "https://api.dingtalk.com"
